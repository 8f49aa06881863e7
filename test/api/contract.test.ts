import type { ExecutionContext } from 'ava';
import test from 'ava';
import { problem } from '../../src/domain/errors.ts';
import type { Conditions } from '../../src/operations/control-plane.ts';
import type { Store } from '../../src/store/store.ts';
import { Api } from '../support/api.ts';
import { openApi, withFaults } from '../support/control-plane-world.ts';
import { until } from '../support/daemon.ts';
import { firstPage } from '../support/store-world.ts';

const port = { wwpn: '0x20000002000000A0', fabric: 'local', state: 'online', synthesized: true };
const host = { machineId: 'm1', bootId: 'b1', simulated: false, initiatorPorts: [port] };

/** With a host `node1` and a volume `data`. */
async function withVolume(t: ExecutionContext): Promise<Api> {
  const { api } = await openApi(t);
  await api.ask({ method: 'PUT', url: '/v1/hosts/node1', body: host });
  await api.ask({ method: 'POST', url: '/v1/volumes', body: { name: 'data', sizeBytes: '1GiB' } });
  return api;
}

const pool = {
  name: 'fast',
  backend: 'file',
  volumeSizeBytes: 1073741824,
  minFree: 10,
  maxVolumes: 100,
  filesystem: 'ext4',
};

test('a pool is created, and created again answers the one that is there', async (t) => {
  const { api } = await openApi(t);
  const first = await api.ask({ method: 'POST', url: '/v1/pools', body: pool });
  t.is(first.status, 201);
  t.like(first.body, { name: 'fast', volumeSizeBytes: 1073741824, minFree: 10, status: { free: 0 } });
  t.is(first.headers.etag, '"1"');
  t.is((await api.ask({ method: 'POST', url: '/v1/pools', body: pool })).status, 200);
  const other = await api.ask({ method: 'POST', url: '/v1/pools', body: { ...pool, minFree: 1 } });
  t.like(other, { status: 409, body: { code: 'name-taken' } });
});

test('a size is accepted as text with a unit', async (t) => {
  const { api } = await openApi(t);
  const made = await api.ask({ method: 'POST', url: '/v1/pools', body: { ...pool, volumeSizeBytes: '2GiB' } });
  t.is(made.body.volumeSizeBytes, 2 * 2 ** 30);
});

test('a pool changes only under the version that was seen', async (t) => {
  const { api } = await openApi(t);
  await api.ask({ method: 'POST', url: '/v1/pools', body: pool });
  const patch = async (body: object, etag?: string) =>
    await api.ask({ method: 'PATCH', url: '/v1/pools/fast', body, ...(etag ? { headers: { 'if-match': etag } } : {}) });
  t.like(await patch({ minFree: 20 }, '"1"'), {
    status: 200,
    body: { minFree: 20, version: 2 },
    headers: { etag: '"2"' },
  });
  t.like(await patch({ minFree: 30 }, '"1"'), { status: 412, body: { code: 'etag-mismatch' } });
  t.like(await patch({ minFree: 30 }), { status: 200 });
  t.like(await patch({ minFree: 1000 }), { status: 400, body: { field: 'minFree' } });
  t.like(await patch({}, 'x'), { status: 400, body: { field: 'If-Match' } });
});

test('a volume is created, shown, listed and deleted', async (t) => {
  const { api } = await openApi(t);
  await api.ask({ method: 'POST', url: '/v1/pools', body: pool });
  const made = await api.ask({ method: 'POST', url: '/v1/volumes', body: { name: 'data', pool: 'fast' } });
  t.is(made.status, 201);
  t.like(made.body, { name: 'data', state: 'allocated', attachments: [] });
  t.regex(String(made.body.wwid), /^naa\.6/);
  t.false('kind' in made.body);
  const shown = await api.ask({ method: 'GET', url: '/v1/volumes/data' });
  t.deepEqual(shown.body, made.body);
  const listed = await api.ask({ method: 'GET', url: '/v1/volumes?state=allocated&pool=fast' });
  t.like(listed.body, { items: [{ name: 'data' }], nextPageToken: null });
  const again = await api.ask({ method: 'POST', url: '/v1/volumes', body: { name: 'data' } });
  t.is(again.status, 200);
  const gone = await api.ask({ method: 'DELETE', url: '/v1/volumes/data' });
  t.deepEqual([gone.status, gone.text], [204, '']);
  t.like(await api.ask({ method: 'DELETE', url: '/v1/volumes/data' }), {
    status: 404,
    body: { code: 'volume-not-found' },
  });
});

test('a volume is attached and detached', async (t) => {
  const api = await withVolume(t);
  const body = { volume: 'data', host: 'node1', accessMode: 'single-writer' };
  const made = await api.ask({ method: 'POST', url: '/v1/attachments', body });
  t.is(made.status, 201);
  t.like(made.body, { epoch: 1, state: 'exported', host: 'node1', volume: 'data' });
  t.is((made.body.paths as unknown[]).length, 1);
  t.is((await api.ask({ method: 'POST', url: '/v1/attachments', body })).status, 200);
  const url = `/v1/attachments/${made.body.id}`;
  const state = { epoch: 1, state: 'attached', bootId: 'b1', proof: { method: 'loop-status' } };
  t.like(await api.ask({ method: 'PUT', url: `${url}/host-state`, body: state }), {
    status: 200,
    body: { hostSide: 'attached' },
  });
  const stale = await api.ask({ method: 'PUT', url: `${url}/host-state`, body: { ...state, epoch: 7 } });
  t.like(stale, { status: 409, body: { code: 'stale-epoch' } });
  const forced = await api.ask({ method: 'DELETE', url: `${url}?force=true` });
  t.like(forced, { status: 409, body: { code: 'cannot-fence' } });
  const detach = await api.ask({ method: 'DELETE', url, headers: { prefer: 'wait=0' } });
  t.is(detach.status, 202);
  await api.ask({ method: 'PUT', url: `${url}/host-state`, body: { ...state, state: 'gone' } });
  t.is((await api.ask({ method: 'DELETE', url })).status, 404);
  t.like((await api.ask({ method: 'GET', url: String(detach.headers.location) })).body, { state: 'succeeded' });
  t.is((await api.ask({ method: 'GET', url })).status, 404);
});

test('an attachment that no host has claimed is detached at once', async (t) => {
  const api = await withVolume(t);
  const made = await api.ask({ method: 'POST', url: '/v1/attachments', body: { volume: 'data', host: 'node1' } });
  const gone = await api.ask({ method: 'DELETE', url: `/v1/attachments/${made.body.id}` });
  t.deepEqual([gone.status, gone.text], [204, '']);
});

test('a second writer is refused with the name of the holder', async (t) => {
  const api = await withVolume(t);
  const second = { ...host, machineId: 'm2', initiatorPorts: [{ ...port, wwpn: '20000002000000a2' }] };
  await api.ask({ method: 'PUT', url: '/v1/hosts/node2', body: second });
  await api.ask({ method: 'POST', url: '/v1/attachments', body: { volume: 'data', host: 'node1' } });
  const refused = await api.ask({ method: 'POST', url: '/v1/attachments', body: { volume: 'data', host: 'node2' } });
  t.is(refused.status, 409);
  t.regex(refused.text, /node1/);
  t.like(await api.ask({ method: 'DELETE', url: '/v1/volumes/data' }), {
    status: 409,
    body: { code: 'volume-in-use' },
  });
});

test('an operation that does not end in time is answered 202 with its URL', async (t) => {
  const { api, world } = await openApi(t);
  const fault = world.node.inject({ effect: 'delay', kind: 'provision' });
  t.teardown(() => fault.release());
  const answer = await api.ask({
    method: 'POST',
    url: '/v1/volumes',
    body: { name: 'data', sizeBytes: '1GiB' },
    headers: { prefer: 'wait=0' },
  });
  t.is(answer.status, 202);
  t.is(answer.headers.location, `/v1/operations/${answer.body.id}`);
  t.is(answer.headers['preference-applied'], 'wait=0');
  t.like(answer.body, { type: 'volume.create', state: 'accepted' });
  const operation = await api.ask({ method: 'GET', url: String(answer.headers.location) });
  t.like(operation, { status: 200, body: { id: answer.body.id, requestedBy: 'tok_admin' } });
  const removal = await api.ask({ method: 'DELETE', url: '/v1/volumes/none', headers: { prefer: 'respond-async' } });
  t.like(removal, { status: 202, body: { type: 'volume.delete' }, headers: { 'preference-applied': 'respond-async' } });
});

test('a journal that is full is 429 with the time to come back', async (t) => {
  const full = problem('journal-full', 'Too many operations are waiting.');
  const { api } = await openApi(t, () => ({ intake: { accept: async () => ({ accepted: false, problem: full }) } }));
  const answer = await api.ask({ method: 'POST', url: '/v1/volumes', body: { name: 'data' } });
  t.like(answer, { status: 429, body: { code: 'journal-full', retryable: true }, headers: { 'retry-after': '1' } });
});

test('a batch is answered in the order of its operations, each with its own outcome', async (t) => {
  const { api } = await openApi(t);
  const operations = [
    { type: 'volume.create', params: { name: 'a', sizeBytes: '1GiB' } },
    { type: 'volume.delete', params: { volume: 'none' } },
    { type: 'volume.create', params: { name: 'b', sizeBytes: '1GiB' } },
  ];
  const answer = await api.ask({ method: 'POST', url: '/v1/operation-batches', body: { operations } });
  t.is(answer.status, 200);
  t.like(answer.body, {
    state: 'ended',
    atomicity: 'per-operation',
    operations: [
      { state: 'succeeded', resource: { name: 'a' } },
      { state: 'failed', problem: { code: 'volume-not-found', status: 404 } },
      { state: 'succeeded', resource: { name: 'b' } },
    ],
  });
  const shown = await api.ask({ method: 'GET', url: `/v1/operation-batches/${answer.body.id}` });
  t.deepEqual(shown.body, answer.body);
});

test('a batch that is not valid names the operation and the field, and does nothing', async (t) => {
  const { api, world } = await openApi(t);
  const before = await world.state();
  const operations = [
    { type: 'volume.create', params: { name: 'a' } },
    { type: 'volume.create', params: { name: 'b', size: 7 } },
  ];
  const answer = await api.ask({ method: 'POST', url: '/v1/operation-batches', body: { operations } });
  t.like(answer, { status: 400, body: { code: 'invalid-request', field: 'operations[1].params.size' } });
  t.is(await world.state(), before);
});

test('a flow policy is created, changed under If-Match, explained and deleted', async (t) => {
  const { api } = await openApi(t);
  const body = {
    initiatorWwpn: '0x20000002000000A0',
    targetWwpn: '50000002000000b0',
    action: 'permit',
    namespace: 'c0ffee',
  };
  const made = await api.ask({ method: 'POST', url: '/v1/flow-policies', body });
  t.is(made.status, 201);
  t.like(made.body, { initiatorWwpn: '20:00:00:02:00:00:00:a0', targetWwpn: '50:00:00:02:00:00:00:b0', version: 1 });
  const url = `/v1/flow-policies/${made.body.id}`;
  const change = { action: 'redirect', redirectTo: '50000002000000B1' };
  t.like(await api.ask({ method: 'PATCH', url, body: change }), { status: 428, body: { code: 'if-match-required' } });
  const changed = await api.ask({ method: 'PATCH', url, body: change, headers: { 'if-match': '"1"' } });
  t.like(changed, { status: 200, body: { redirectTo: '50:00:00:02:00:00:00:b1' }, headers: { etag: '"2"' } });
  const resolved = await api.ask({
    method: 'GET',
    url: '/v1/flows/resolve?initiatorWwpn=20000002000000a0&targetWwpn=50000002000000b0&namespace=c0ffee',
  });
  t.like(resolved, { status: 200, body: { action: 'redirect', policy: { id: made.body.id } } });
  t.is((await api.ask({ method: 'DELETE', url, headers: { 'if-match': '"1"' } })).status, 412);
  t.is((await api.ask({ method: 'DELETE', url, headers: { 'if-match': '"2"' } })).status, 204);
});

test('a redirect needs a port to go to, and nothing else takes one', async (t) => {
  const { api } = await openApi(t);
  const ask = async (body: object) => await api.ask({ method: 'POST', url: '/v1/flow-policies', body });
  t.like(await ask({ action: 'redirect' }), { status: 400, body: { field: 'redirectTo' } });
  t.like(await ask({ action: 'deny', redirectTo: '50000002000000b1' }), { status: 400, body: { field: 'redirectTo' } });
});

test('a QoS policy is created, replaced under If-Match and deleted', async (t) => {
  const { api } = await openApi(t);
  const body = { name: 'gold', maxIopsPerContainer: 500, maxBandwidthPerContainer: '50MiB', allowBursting: true };
  const made = await api.ask({ method: 'POST', url: '/v1/qos-policies', body });
  t.like(made, { status: 201, body: { burstIops: 1000, maxBandwidthPerContainer: 52428800, enforced: false } });
  t.is((await api.ask({ method: 'POST', url: '/v1/qos-policies', body: { name: 'gold' } })).status, 200);
  const url = '/v1/qos-policies/gold';
  t.is((await api.ask({ method: 'PUT', url, body: { weight: 5 } })).status, 428);
  const put = await api.ask({ method: 'PUT', url, body: { weight: 5 }, headers: { 'if-match': '*' } });
  t.like(put, { status: 200, body: { weight: 5, maxIopsPerContainer: null, version: 2 } });
  t.is((await api.ask({ method: 'DELETE', url })).status, 204);
  t.is((await api.ask({ method: 'GET', url })).status, 404);
});

test('hosts register themselves, and the target ports of storage nodes are listed', async (t) => {
  const { api, world } = await openApi(t);
  const made = await api.ask({ method: 'PUT', url: '/v1/hosts/node1', body: host });
  t.like(made, { status: 200, body: { name: 'node1', initiatorPorts: [{ wwpn: '20:00:00:02:00:00:00:a0' }] } });
  const clone = await api.ask({ method: 'PUT', url: '/v1/hosts/node1', body: { ...host, machineId: 'm2' } });
  t.like(clone, { status: 409, body: { code: 'host-conflict' } });
  const targets = await api.ask({ method: 'GET', url: '/v1/targets' });
  const [own] = (await world.controlPlane.store.storageNodeList(firstPage)).items;
  t.like(targets.body, { items: [{ wwpn: own?.targetPorts[0]?.wwpn, storageNode: own?.name }] });
  const foreign = { exporter: 'local', backends: ['file'], canFence: true, targetPorts: [] };
  t.is((await api.ask({ method: 'PUT', url: `/v1/storage-nodes/${own?.name}`, body: foreign })).status, 404);
  const begun = await api.ask({ method: 'POST', url: '/v1/hosts/node1/inventories/begin' });
  t.is(begun.status, 200);
  const report = { bootId: 'b1', sequence: begun.body.sequence, present: ['att_x'] };
  const told = await api.ask({ method: 'POST', url: '/v1/hosts/node1/inventories', body: report });
  t.like(told, { status: 200, body: { wanted: [], unwanted: ['att_x'] } });
  t.is((await api.ask({ method: 'DELETE', url: '/v1/hosts/node1' })).status, 204);
});

test('sizes are rounded up to what a device has, shown as they are, and found again as they were asked for', async (t) => {
  const { api } = await openApi(t);
  const [odd, whole] = [2 ** 30 + 1, 2 ** 30 + 512];
  for (const status of [201, 200]) {
    const volume = await api.ask({ method: 'POST', url: '/v1/volumes', body: { name: 'v', sizeBytes: odd } });
    t.like(volume, { status, body: { sizeBytes: whole } });
    const sized = await api.ask({ method: 'POST', url: '/v1/pools', body: { ...pool, volumeSizeBytes: odd } });
    t.like(sized, { status, body: { volumeSizeBytes: whole } });
  }
});

test('a port that is stated twice is refused', async (t) => {
  const { api } = await openApi(t);
  const ports = [port, { ...port, wwpn: '20:00:00:02:00:00:00:A0' }];
  const body = { machineId: 'm1', bootId: 'b1', simulated: false, initiatorPorts: ports };
  const answer = await api.ask({ method: 'PUT', url: '/v1/hosts/node1', body });
  t.like(answer, { status: 400, body: { code: 'invalid-wwpn', field: 'initiatorPorts[1].wwpn' } });
});

test('lists come in pages', async (t) => {
  const { api } = await openApi(t);
  for (const name of ['a', 'b', 'c']) {
    await api.ask({ method: 'POST', url: '/v1/volumes', body: { name, sizeBytes: '1GiB' } });
  }
  const first = await api.ask({ method: 'GET', url: '/v1/volumes?pageSize=2' });
  t.like(first.body, { items: [{ name: 'a' }, { name: 'b' }] });
  const second = await api.ask({ method: 'GET', url: `/v1/volumes?pageSize=2&pageToken=${first.body.nextPageToken}` });
  t.like(second.body, { items: [{ name: 'c' }], nextPageToken: null });
  t.is((await api.ask({ method: 'GET', url: '/v1/volumes?pageSize=1001' })).status, 400);
});

test('a pool that is blocked degrades the service, and takes it from nobody', async (t) => {
  const { api, world } = await openApi(t);
  const pool = { name: 'fast', backend: 'file', volumeSizeBytes: 16 * 1024 * 1024, minFree: 0, maxVolumes: 1 };
  await world.store.poolCreate({ ...pool, filesystem: 'ext4' });
  const ask = () => api.ask({ method: 'GET', url: '/readyz', token: null });
  const isDegraded = async () => {
    // The reconciler opens it again whenever it looks.
    await world.store.poolBlock('fast', 'The disk is full.');
    return JSON.stringify((await ask()).body).includes('The disk is full.');
  };
  await until(isDegraded, { what: 'the pool is told as blocked' });
  await world.store.poolBlock('fast', 'The disk is full.');
  t.is((await ask()).status, 200);
});

test('HAZARD 16: a store whose disk is full takes nothing more, and says why', async (t) => {
  const store = (real: Store) => ({ counters: async () => ({ ...(await real.counters()), hasSpace: false }) });
  const { api } = await openApi(t, () => ({}), {}, { store });
  const answer = await api.ask({ method: 'GET', url: '/readyz', token: null });
  const reason = 'The disk of the store is full: nothing can be changed until there is space again.';
  t.like(answer, { status: 503, body: { unready: [{ part: 'store', reason }] } });
});

test('a batch that a bug keeps from being carried on is named in readiness, and degrades the service', async (t) => {
  const parkedBatches = [
    { id: 'batch_1', reason: 'assertion planted failed' },
    { id: 'batch_2', reason: 'another' },
  ];
  const store = (real: Store) => ({ backlog: async () => ({ ...(await real.backlog()), parkedBatches }) });
  const { api } = await openApi(t, () => ({}), {}, { store });
  const reason = 'A bug keeps 2 of the batches from being carried on; batch_1: assertion planted failed.';
  t.like(await api.ask({ method: 'GET', url: '/readyz', token: null }), {
    status: 200,
    body: { status: 'degraded', unready: [], degraded: [{ part: 'operations', reason }] },
  });
});

test('however many probe at once, the store is asked for few of them', async (t) => {
  let asked = 0;
  const count = (real: Store) => ({
    counters: () => {
      asked += 1;
      return real.counters();
    },
  });
  const { api } = await openApi(t, () => ({}), {}, { store: count });
  asked = 0;
  const probes = Array.from({ length: 200 }, () => api.ask({ method: 'GET', url: '/readyz', token: null }));
  t.true((await Promise.all(probes)).every(({ status }) => status === 200));
  t.true(asked < 20, `${asked} questions for ${probes.length} probes`);
});

test('readiness says which parts are not ready, without a token', async (t) => {
  const { api, world } = await openApi(t);
  t.like(await api.ask({ method: 'GET', url: '/readyz', token: null }), { status: 200, body: { status: 'ready' } });
  const degraded = [{ part: 'queue', reason: 'Redis does not answer.' }];
  const unready = [{ part: 'store', reason: 'The store does not answer.' }];
  const ask = async (conditions: Conditions) => {
    const away = await Api.over(withFaults(world.controlPlane, { conditions }), { tokens: api.tokens });
    t.teardown(() => away.close());
    return away.ask({ method: 'GET', url: '/readyz', token: null });
  };
  t.like(await ask({ unready, degraded }), { status: 503, body: { status: 'not-ready', unready, degraded } });
  t.like(await ask({ unready: [], degraded }), { status: 200, body: { status: 'degraded', unready: [], degraded } });
  t.like(await api.ask({ method: 'GET', url: '/healthz', token: null }), { status: 200, body: { status: 'ok' } });
});

test('metrics are Prometheus text', async (t) => {
  const { api } = await openApi(t);
  const answer = await api.ask({ method: 'GET', url: '/metrics', token: api.tokens.viewer });
  t.is(answer.status, 200);
  t.regex(String(answer.headers['content-type']), /^text\/plain/);
});

test('every answer carries the id of its request', async (t) => {
  const { api } = await openApi(t);
  const own = await api.ask({ method: 'GET', url: '/healthz', headers: { 'x-request-id': 'abc-1' } });
  t.is(own.headers['x-request-id'], 'abc-1');
  const made = await api.ask({ method: 'GET', url: '/healthz', headers: { 'x-request-id': 'a b\t' } });
  t.regex(String(made.headers['x-request-id']), /^req_/);
});

test('metrics can be left out', async (t) => {
  const { world, api } = await openApi(t);
  const without = await Api.over(world.controlPlane, { tokens: api.tokens, serveMetrics: false });
  t.teardown(() => without.close());
  t.is((await without.ask({ method: 'GET', url: '/metrics' })).status, 404);
});
