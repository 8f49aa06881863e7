import test, { type ExecutionContext } from 'ava';
import Fastify from 'fastify';
import { problem } from '../../src/domain/errors.ts';
import type { Role } from '../../src/domain/principal.ts';
import { roles } from '../../src/domain/principal.ts';
import { access, accessOf } from '../../src/http/access.ts';
import type { Asked } from '../support/api.ts';
import { openApi } from '../support/control-plane-world.ts';
import { until } from '../support/daemon.ts';
import { sharedApi } from '../support/shared-api.ts';

const all: readonly Role[] = ['admin', 'operator', 'host', 'viewer'];
const readers: readonly Role[] = ['admin', 'operator', 'viewer'];
const operators: readonly Role[] = ['admin', 'operator'];
const hosts: readonly Role[] = ['admin', 'host'];

const host = { machineId: 'm', bootId: 'b', simulated: true, initiatorPorts: [] };
const state = { epoch: 1, state: 'attached', bootId: 'b' };
const ownPort = { wwpn: '20000002000000a1', fabric: 'local', state: 'online', synthesized: true };
const inventory = { bootId: 'b', sequence: 1, present: [] };
const batch = { operations: [{ type: 'volume.delete', params: { volume: 'x' } }] };
const pool = { name: 'p', backend: 'file', volumeSizeBytes: '1GiB', minFree: 0, maxVolumes: 1 };
const flows = '/v1/flows/resolve?initiatorWwpn=20000002000000a0&targetWwpn=50000002000000b0';

/** Route, a request that it would serve, and who may send it. Everything else is this role's 403. */
const rows: readonly (readonly [string, string, object | null, readonly Role[]])[] = [
  ['GET /metrics', '/metrics', null, readers],
  ['GET /v1/pools', '/v1/pools', null, readers],
  ['POST /v1/pools', '/v1/pools', pool, ['admin']],
  ['GET /v1/pools/:name', '/v1/pools/p', null, readers],
  ['PATCH /v1/pools/:name', '/v1/pools/p', { minFree: 1 }, ['admin']],
  ['DELETE /v1/pools/:name', '/v1/pools/p', null, ['admin']],
  ['GET /v1/volumes', '/v1/volumes', null, all],
  ['POST /v1/volumes', '/v1/volumes', { name: 'v' }, operators],
  ['GET /v1/volumes/:name', '/v1/volumes/v', null, all],
  ['DELETE /v1/volumes/:name', '/v1/volumes/v', null, operators],
  ['POST /v1/volumes/:name/clear', '/v1/volumes/v/clear', null, operators],
  ['GET /v1/attachments', '/v1/attachments', null, all],
  ['POST /v1/attachments', '/v1/attachments', { volume: 'v', host: 'node1' }, ['admin', 'operator', 'host']],
  ['GET /v1/attachments/:id', '/v1/attachments/a', null, all],
  ['DELETE /v1/attachments/:id', '/v1/attachments/a', null, ['admin', 'operator', 'host']],
  ['PUT /v1/attachments/:id/host-state', '/v1/attachments/a/host-state', state, hosts],
  ['GET /v1/hosts', '/v1/hosts', null, readers],
  ['GET /v1/hosts/:name', '/v1/hosts/node1', null, all],
  ['PUT /v1/hosts/:name', '/v1/hosts/node1', host, hosts],
  ['DELETE /v1/hosts/:name', '/v1/hosts/node1', null, operators],
  ['POST /v1/hosts/:name/inventories/begin', '/v1/hosts/node1/inventories/begin', null, hosts],
  ['POST /v1/hosts/:name/inventories', '/v1/hosts/node1/inventories', inventory, hosts],
  ['GET /v1/storage-nodes', '/v1/storage-nodes', null, readers],
  ['GET /v1/storage-nodes/:name', '/v1/storage-nodes/local', null, readers],
  ['POST /v1/storage-nodes/:name/adopt', '/v1/storage-nodes/none/adopt', null, ['admin']],
  ['GET /v1/targets', '/v1/targets', null, readers],
  ['GET /v1/flow-policies', '/v1/flow-policies', null, readers],
  ['POST /v1/flow-policies', '/v1/flow-policies', { action: 'permit' }, operators],
  ['GET /v1/flow-policies/:id', '/v1/flow-policies/f', null, readers],
  ['PATCH /v1/flow-policies/:id', '/v1/flow-policies/f', { action: 'deny' }, operators],
  ['DELETE /v1/flow-policies/:id', '/v1/flow-policies/f', null, operators],
  ['GET /v1/flows/resolve', flows, null, readers],
  ['GET /v1/qos-policies', '/v1/qos-policies', null, readers],
  ['POST /v1/qos-policies', '/v1/qos-policies', { name: 'q' }, operators],
  ['GET /v1/qos-policies/:name', '/v1/qos-policies/q', null, readers],
  ['PUT /v1/qos-policies/:name', '/v1/qos-policies/q', { weight: 1 }, operators],
  ['DELETE /v1/qos-policies/:name', '/v1/qos-policies/q', null, operators],
  ['POST /v1/operation-batches', '/v1/operation-batches', batch, operators],
  ['GET /v1/operation-batches/:id', '/v1/operation-batches/b', null, readers],
  ['GET /v1/operations', '/v1/operations', null, readers],
  ['GET /v1/operations/:id', '/v1/operations/b-0', null, all],
  ['GET /v1/events', '/v1/events?after=none', null, readers],
  ['GET /v1/tokens', '/v1/tokens', null, ['admin']],
  ['POST /v1/tokens', '/v1/tokens', { name: 't', role: 'viewer' }, ['admin']],
  ['DELETE /v1/tokens/:id', '/v1/tokens/none', null, ['admin']],
];

function asked(route: string, url: string, body: object | null, token: string | null): Asked {
  const method = route.split(' ')[0] as Asked['method'];
  return { method, url, token, ...(body === null ? {} : { body }) };
}

test('every route that is not open to anyone has a row here', (t) => {
  const closed = Object.entries(access).filter(([, allowed]) => allowed !== 'anyone');
  t.deepEqual(rows.map(([route]) => route).sort(), closed.map(([route]) => route).sort());
});

test('the routes that anyone may ask are these and no others', (t) => {
  const open = Object.entries(access).filter(([, allowed]) => allowed === 'anyone');
  t.deepEqual(open.map(([route]) => route).sort(), ['GET /healthz', 'GET /openapi.json', 'GET /readyz']);
});

const shared = sharedApi();

for (const [route, url, body, allowed] of rows) {
  test.serial(`${route} is for ${allowed.join(', ')} only`, async (t) => {
    const { world, api } = await shared();
    const before = await world.state();
    t.like(await api.ask(asked(route, url, body, null)), { status: 401, body: { code: 'unauthenticated' } });
    const foreign = `fcr_${'A'.repeat(43)}`;
    t.is((await api.ask(asked(route, url, body, foreign))).status, 401);
    for (const role of roles.filter((one) => !allowed.includes(one))) {
      const refused = await api.ask(asked(route, url, body, api.tokens[role]));
      t.like(refused, { status: 403, body: { code: 'forbidden' } }, role);
    }
    t.is(await world.state(), before);
    for (const role of allowed) {
      const { status } = await api.ask(asked(route, url, body, api.tokens[role]));
      t.false([401, 403, 500].includes(status), `${role} got ${status}`);
    }
  });
}

test('a route without an entry in the access table stops the start', async (t) => {
  t.throws(() => accessOf('GET', '/v1/new'), { message: /no entry in the access table/ });
  const app = Fastify();
  app.addHook('onRoute', ({ method, url }) => void accessOf(String(method), url));
  t.throws(() => app.get('/v1/new', async () => ''), { message: /no entry in the access table/ });
  await app.close();
});

/** Attached to `node1` and to `node2`. */
async function attachTwice(t: ExecutionContext) {
  const { api, world } = await openApi(t);
  await api.ask({ method: 'POST', url: '/v1/volumes', body: { name: 'v', sizeBytes: '1GiB' } });
  const attach = async (name: string, wwpn: string) => {
    const initiatorPorts = [{ wwpn, fabric: 'local', state: 'online', synthesized: true }];
    await api.ask({ method: 'PUT', url: `/v1/hosts/${name}`, body: { ...host, machineId: name, initiatorPorts } });
    const body = { volume: 'v', host: name, accessMode: 'read-only-many' };
    return `/v1/attachments/${(await api.ask({ method: 'POST', url: '/v1/attachments', body })).body.id}`;
  };
  const own = await attach('node1', '20000002000000a1');
  return { api, world, own, foreign: await attach('node2', '20000002000000a2') };
}

test("a host's token acts for its own host only", async (t) => {
  const { api, world, own, foreign } = await attachTwice(t);
  const before = await world.state();
  const token = api.tokens.host;
  const ask = async (method: Asked['method'], url: string, body?: object) =>
    (await api.ask({ method, url, token, ...(body === undefined ? {} : { body }) })).status;
  t.is(await ask('PUT', '/v1/hosts/node2', host), 403);
  t.is(await ask('GET', '/v1/hosts/node2'), 403);
  t.is(await ask('POST', '/v1/hosts/node2/inventories/begin'), 403);
  t.is(await ask('POST', '/v1/hosts/node2/inventories', inventory), 403);
  t.is(await ask('POST', '/v1/attachments', { volume: 'v', host: 'node2' }), 403);
  t.is(await ask('GET', foreign), 403);
  t.is(await ask('DELETE', foreign), 403);
  t.is(await ask('PUT', `${foreign}/host-state`, { ...state, host: 'node2' }), 403);
  // The host that it names is its own, but the attachment is not that host's.
  t.true([403, 404, 409].includes(await ask('PUT', `${foreign}/host-state`, { ...state, host: 'node1' })));
  t.is(await ask('GET', '/v1/attachments?host=node2'), 403);
  t.is(await ask('GET', '/v1/volumes?host=node2'), 403);
  t.is(await world.state(), before);
  t.is(await ask('GET', own), 200);
  t.is(await ask('PUT', `${own}/host-state`, { ...state, state: 'claimed' }), 200);
  t.is(await ask('PUT', `${own}/host-state`, { ...state, state: 'gone' }), 200);
  const listed = await api.ask({ method: 'GET', url: '/v1/attachments', token });
  t.like(listed.body, { items: [{ host: 'node1' }], nextPageToken: null });
  t.is(await ask('DELETE', own), 204);
});

test('a host sees every volume, since it may have to mount it, and of the attachments its own', async (t) => {
  const { api } = await attachTwice(t);
  const token = api.tokens.host;
  const hostsOf = (volume: unknown) =>
    (volume as { readonly attachments: readonly { readonly host: string }[] }).attachments.map(
      ({ host: name }) => name,
    );
  const shown = await api.ask({ method: 'GET', url: '/v1/volumes/v', token });
  t.deepEqual(hostsOf(shown.body), ['node1']);
  const listed = await api.ask({ method: 'GET', url: '/v1/volumes', token });
  t.deepEqual((listed.body.items as readonly unknown[]).map(hostsOf), [['node1']]);
  const all = await api.ask({ method: 'GET', url: '/v1/volumes/v', token: api.tokens.viewer });
  t.deepEqual(hostsOf(all.body).sort(), ['node1', 'node2']);
});

test('why a volume is quarantined is told in the words of its storage node to those only who mend it', async (t) => {
  const { api, world } = await openApi(t);
  const cause = problem('medium-not-empty', '/srv/volumes/vol.img still holds data near byte 7.');
  world.node.inject({ effect: 'fail', kind: 'destroy', problem: cause });
  const { body } = await api.ask({ method: 'POST', url: '/v1/volumes', body: { name: 'v', sizeBytes: '1GiB' } });
  const { id } = body;
  await api.ask({ method: 'DELETE', url: '/v1/volumes/v' });
  const ask = async (token: string) => (await api.ask({ method: 'GET', url: `/v1/volumes/${id}`, token })).body;
  const isQuarantined = async () => (await ask(api.tokens.admin)).state === 'failed';
  await until(isQuarantined, { what: 'the volume is quarantined' });
  const whole = `medium-not-empty: ${cause.detail}`;
  const outward = 'medium-not-empty: The medium still holds data after its wipe';
  for (const [role, told] of Object.entries({ admin: whole, operator: whole, host: outward, viewer: outward })) {
    const token = api.tokens[role as Role];
    t.is((await ask(token)).failureReason, told, role);
    const listed = (await api.ask({ method: 'GET', url: '/v1/volumes', token })).body;
    t.like(listed.items, [{ id, failureReason: told }], role);
  }
  await api.ask({ method: 'PUT', url: '/v1/hosts/node1', body: { ...host, initiatorPorts: [ownPort] } });
  const attach = { method: 'POST', url: '/v1/attachments', body: { volume: id, host: 'node1' } } as const;
  const refused = await api.ask({ ...attach, token: api.tokens.host });
  t.like(refused.body, { code: 'volume-not-ready', detail: `Volume "${id}" is failed (${outward}).` });
  const deleted = await api.ask({ method: 'DELETE', url: `/v1/volumes/${id}` });
  t.like(deleted.body, { code: 'volume-not-ready', detail: `Volume "${id}" is failed (${outward}).` });
});

test('what only a host can know is taken from hosts and administrators, alone and in batches', async (t) => {
  const { api, world, own } = await attachTwice(t);
  const before = await world.state();
  const token = api.tokens.operator;
  const claim = { volume: 'v', host: 'node1', accessMode: 'read-only-many', claim: true };
  const attachment = own.split('/').at(-1) ?? '';
  const proof = 'exclusive-open /dev/loop3';
  const inBatch = (type: string, params: object) => ({
    method: 'POST' as const,
    url: '/v1/operation-batches',
    body: { operations: [{ type, params }] },
    token,
  });
  for (const asked of [
    { method: 'POST' as const, url: '/v1/attachments', body: claim, token },
    { method: 'DELETE' as const, url: `${own}?goneEpoch=1&goneProof=${encodeURIComponent(proof)}`, token },
    inBatch('volume.attach', claim),
    inBatch('volume.detach', { attachment, goneEpoch: 1, goneProof: proof }),
  ]) {
    t.like(await api.ask(asked), { status: 403, body: { code: 'forbidden' } });
  }
  t.is(await world.state(), before);
  const claimed = await api.ask({ method: 'POST', url: '/v1/attachments', body: claim, token: api.tokens.host });
  t.like(claimed, { status: 200, body: { hostSide: 'claimed' } });
  t.is((await api.ask({ method: 'POST', url: '/v1/attachments', body: claim })).status, 200);
});

test('a host follows the operations that it asked for, and no others', async (t) => {
  const { api } = await openApi(t);
  const headers = { prefer: 'respond-async' };
  const foreign = await api.ask({ method: 'POST', url: '/v1/volumes', body: { name: 'v' }, headers });
  const body = { volume: 'v', host: 'node1' };
  const token = api.tokens.host;
  const own = await api.ask({ method: 'POST', url: '/v1/attachments', body, headers, token });
  t.is((await api.ask({ method: 'GET', url: String(foreign.headers.location), token })).status, 403);
  t.is((await api.ask({ method: 'GET', url: String(own.headers.location), token })).status, 200);
});

test('a revoked token stops working at once', async (t) => {
  const { api } = await openApi(t);
  const made = await api.ask({ method: 'POST', url: '/v1/tokens', body: { name: 'ci', role: 'viewer' } });
  t.is(made.status, 201);
  const token = String(made.body.secret);
  t.is((await api.ask({ method: 'GET', url: '/v1/volumes', token })).status, 200);
  t.is((await api.ask({ method: 'DELETE', url: `/v1/tokens/${made.body.id}` })).status, 204);
  t.is((await api.ask({ method: 'GET', url: '/v1/volumes', token })).status, 401);
});

test('secrets of tokens are neither listed nor kept', async (t) => {
  const { api, world } = await openApi(t);
  const made = await api.ask({ method: 'POST', url: '/v1/tokens', body: { name: 'ci', role: 'host', host: 'node1' } });
  const listed = await api.ask({ method: 'GET', url: '/v1/tokens' });
  t.false(listed.text.includes(String(made.body.secret)));
  t.false((await world.state()).includes(String(made.body.secret)));
  const bare = await api.ask({ method: 'POST', url: '/v1/tokens', body: { name: 'x', role: 'host' } });
  t.like(bare, { status: 400, body: { field: 'host' } });
});
