/** Each type of operation: what it answers, what it refuses and why, and what a repeat answers. */
import test from 'ava';
import { exactly } from '../../src/domain/byte-count.ts';
import { problem } from '../../src/domain/errors.ts';
import type { OperationSpec } from '../../src/domain/operation.ts';
import { sql } from '../../src/store/kysely/sql.ts';
import {
  attach,
  attachReader,
  create,
  createOnDemand,
  detach,
  hostPorts,
  OperationWorld,
  permit,
  poolDefaults,
  remove,
  removePolicy,
  sizeBytes,
  words,
} from '../support/operation-world.ts';
import { admin, sqliteWorld } from '../support/store-world.ts';

const open = sqliteWorld();
const pool = poolDefaults.name;

async function problemOf(world: OperationWorld, operation: OperationSpec) {
  const [ended] = (await world.run([operation])).operations;
  return ended?.problem ?? null;
}

test('a volume comes from the named pool, from the smallest that is large enough, or is made', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 3 });
  await world.store.resources.poolCreate({ ...poolDefaults, name: 'large', volumeSizeBytes: 4 * sizeBytes });
  const batch = await world.run([
    create('named', { pool, labels: { app: 'db' } }),
    create('small', { sizeBytes }),
    create('larger', { sizeBytes: sizeBytes + 1 }),
    create('huge', { sizeBytes: 5 * sizeBytes }),
    create('any', {}),
  ]);
  t.deepEqual(words(batch), Array(5).fill('done'));
  const fields = batch.operations.map(({ resource }) => [resource?.pool, resource?.sizeBytes, resource?.state]);
  t.deepEqual(fields, [
    [pool, sizeBytes, 'allocated'],
    [pool, sizeBytes, 'allocated'],
    ['large', 4 * sizeBytes, 'allocated'],
    [null, 5 * sizeBytes, 'allocated'],
    [pool, sizeBytes, 'allocated'],
  ]);
  t.deepEqual(batch.operations[0]?.resource?.labels, { app: 'db' });
  const status = (await world.store.resources.poolGet(pool))?.status;
  t.like(status, { hits: 3, misses: 0, free: 0, allocated: 3 });
  t.like((await world.store.resources.poolGet('large'))?.status, { hits: 0, misses: 1, allocated: 1 });
  t.is(await world.leftovers(), '');
});

test('creating again answers what is there if the stated fields are equal, and is refused by the first that differs', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 2 });
  await world.store.resources.qosPolicyCreate({ name: 'gold', ...qosNone });
  const made = await world.run([create('v', { pool, qosPolicy: 'gold', labels: { a: '1' } })]);
  const id = made.operations[0]?.resource?.id;
  for (const params of [{}, { pool }, { sizeBytes }, { qosPolicy: 'gold' }, { labels: { a: '1' } }]) {
    const again = await world.run([create('v', params)]);
    t.deepEqual(words(again), ['existing'], JSON.stringify(params));
    t.is(again.operations[0]?.resource?.id, id);
  }
  await world.store.resources.poolCreate({ ...poolDefaults, name: 'other' });
  const different = {
    pool: { pool: 'other' },
    sizeBytes: { sizeBytes: 2 * sizeBytes },
    qosPolicy: { qosPolicy: 'silver' },
    labels: { labels: { a: '2' } },
  };
  for (const [field, params] of Object.entries(different)) {
    t.like(await problemOf(world, create('v', params)), { code: 'name-taken', field, related: { volume: id } });
  }
});

const qosNone = {
  maxIopsPerContainer: null,
  maxBandwidthPerContainer: null,
  maxTotalIops: null,
  maxTotalBandwidth: null,
  minIopsPerContainer: 0,
  weight: 100,
  allowBursting: false,
  burstIops: null,
  burstDurationSeconds: 10,
  sharing: 'max-min',
} as const;

test('a create is refused by what it names, and by a pool that has nothing for it', async (t) => {
  const world = await OperationWorld.open(t, open, { pool: { maxVolumes: 1, minFree: 1 }, free: 1 });
  t.like(await problemOf(world, create('v', { pool: 'none' })), { code: 'pool-not-found', field: 'pool' });
  t.like(await problemOf(world, create('v', { pool, sizeBytes: sizeBytes + 1 })), {
    code: 'no-pool-fits',
    field: 'sizeBytes',
    detail: `sizeBytes ${exactly(sizeBytes + 1)} is larger than the volumes of pool "${pool}" are: ${exactly(sizeBytes)}; name a larger pool or none.`,
  });
  t.like(await problemOf(world, create('v', { pool, qosPolicy: 'none' })), {
    code: 'qos-policy-not-found',
    field: 'qosPolicy',
  });
  t.deepEqual(words(await world.run([create('v')])), ['done']);
  t.like(await problemOf(world, create('w')), { code: 'pool-exhausted', field: 'pool' });
  await world.store.resources.poolUpdate(pool, { draining: true }, null);
  t.like(await problemOf(world, create('w')), { code: 'pool-draining', field: 'pool' });
  t.like(await problemOf(world, create('w', {})), { code: 'no-pool-fits', field: 'pool' });
  t.is(await world.leftovers(), '');
});

test('a create that finds the volumes of its pool being wiped is told to come again', async (t) => {
  const world = await OperationWorld.open(t, open, { pool: { maxVolumes: 1, minFree: 1 }, free: 1 });
  t.deepEqual(words(await world.run([create('v'), remove('v')])), ['done', 'done']);
  const refusal = await problemOf(world, create('w'));
  t.is(refusal?.code, 'pool-exhausted');
  t.regex(refusal?.detail ?? '', /all 1 volumes are in use \(1 of them are being wiped\); repeat this in a moment/);
});

test('HAZARD 16: a pool that is blocked gives nothing, and says why; the next pool serves', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 1 });
  const { resources, maintenance } = world.store;
  await maintenance.poolBlock(pool, 'space is low');
  await resources.poolCreate({
    ...poolDefaults,
    name: 'second',
    volumeSizeBytes: 2 * sizeBytes,
    minFree: 1,
    maxVolumes: 1,
  });
  t.deepEqual(words(await world.run([create('a', {}), create('b', {})])), ['done', 'pool-exhausted']);
  t.like(await resources.volumeGet('a'), { pool: 'second' });
  const refusal = await problemOf(world, create('c'));
  t.is(refusal?.code, 'pool-exhausted');
  t.regex(refusal?.detail ?? '', /space is low/);
});

test('a free volume of a later pool is taken before one is made that a blocked pool cannot make', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 0 });
  const { resources, maintenance } = world.store;
  await resources.poolCreate({ ...poolDefaults, name: 'a-first', minFree: 1, maxVolumes: 5 });
  await world.refill(1);
  await maintenance.poolBlock('a-first', 'space is low');
  t.deepEqual(words(await world.run([create('v', {})])), ['done']);
  t.like((await resources.poolGet(pool))?.status, { hits: 1, misses: 0 });
});

test('a volume that cannot be made is told with the node’s reason, and its name is free', async (t) => {
  const world = await OperationWorld.open(t, open);
  world.node.inject({ effect: 'fail', kind: 'provision', problem: problem('out-of-space', 'It is full.') });
  t.like(await problemOf(world, createOnDemand('v')), { code: 'out-of-space', detail: 'It is full.' });
  t.deepEqual(words(await world.run([create('v')])), ['done']);
  t.is(await world.leftovers(), '');
});

test('a delete takes the name at once, and is refused for what is not there or in use', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 2 });
  await world.run([create('v'), create('used'), attach('used')]);
  const { id } = await world.attachmentOf('used');
  t.deepEqual(words(await world.run([remove('v'), remove('v')])), ['done', 'volume-not-found']);
  t.like(await problemOf(world, remove('used')), {
    code: 'volume-in-use',
    related: { host: 'host1', attachment: id },
  });
  t.like(await problemOf(world, remove('nobody')), { code: 'volume-not-found', field: 'volume' });
  const volume = await world.store.resources.volumeGet('used');
  t.deepEqual(words(await world.run([detach(id), remove(volume?.id ?? '')])), ['done', 'done']);
  t.deepEqual(words(await world.run([remove(volume?.id ?? '')])), ['volume-not-found']);
  t.is(await world.leftovers(), '');
});

test('an attach answers paths and epoch; again it answers the same; another mode or host is refused', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 2 });
  const made = await world.run([create('v'), attach('v')]);
  const resource = made.operations[1]?.resource;
  t.like(resource, { kind: 'attachment', volume: 'v', host: 'host1', state: 'exported', epoch: 1, hostSide: 'none' });
  t.like((await world.attachmentOf('v')).paths, [{ initiatorWwpn: hostPorts.host1, lun: 0 }]);
  const again = await world.run([attach('v')]);
  t.deepEqual([words(again), again.operations[0]?.resource?.id], [['existing'], resource?.id]);
  const claimed = await world.run([attach('v', 'host1', { claim: true })]);
  t.like(claimed.operations[0]?.resource, { id: resource?.id, hostSide: 'claimed' });
  const related = { host: 'host1', attachment: resource?.id ?? '' };
  for (const operation of [attach('v', 'host2'), attachReader('v', 'host1'), attachReader('v', 'host2')]) {
    t.like(await problemOf(world, operation), { code: 'volume-in-use', related });
  }
  t.like(await problemOf(world, attach('v2')), { code: 'volume-not-found', field: 'volume' });
  await world.run([create('w')]);
  t.like(await problemOf(world, attach('w', 'nobody')), { code: 'host-not-found', field: 'host' });
  t.is(await world.leftovers(), '');
});

test('readers share a volume, and a writer waits for none of them', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 1 });
  const batch = await world.run([
    create('v'),
    attachReader('v', 'host1'),
    attachReader('v', 'host2'),
    attach('v', 'host3'),
  ]);
  t.deepEqual(words(batch), ['done', 'done', 'done', 'volume-in-use']);
  t.is((await world.node.inventory()).exports.length, 2);
  t.is(await world.leftovers(), '');
});

test('no path is left where a policy denies it or no fabric is common, and the refusal says which', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 1 });
  const made = await world.run([create('v'), permit('c1', { action: 'deny', initiatorWwpn: hostPorts.host1 })]);
  const denied = await problemOf(world, attach('v', 'host1', { namespace: 'c1' }));
  t.like(denied, { code: 'host-unreachable-paths', related: { host: 'host1', storageNode: 'node' } });
  t.true(denied?.detail.includes(made.operations[1]?.resource?.id ?? 'no id'));
  const far = { wwpn: '20:00:02:00:00:00:00:f1', fabric: 'elsewhere', state: 'online', synthesized: true } as const;
  const host = { name: 'far', machineId: 'm', bootId: 'b', simulated: true, initiatorPorts: [far] };
  await world.store.resources.hostRegister(host, admin);
  t.is((await problemOf(world, attach('v', 'far')))?.code, 'host-unreachable-paths');
  t.deepEqual(words(await world.run([attach('v')])), ['done']);
});

test('what needs no pool is made on the storage node that was seen last: others may be gone', async (t) => {
  const world = await OperationWorld.open(t, open);
  const { resources, database } = world.store;
  const gone = { name: 'a-gone', exporter: 'simulator', backends: ['file'], canFence: false, targetPorts: [] };
  await resources.storageNodeRegister(gone);
  await sql`UPDATE storage_nodes SET last_seen_at = 0 WHERE name = ${gone.name}`.execute(database.connection);
  t.deepEqual(words(await world.run([createOnDemand('large')])), ['done']);
  t.like(await resources.volumeGet('large'), { storageNode: world.node.name, pool: null });
  const { resource } = await resources.poolCreate({ ...poolDefaults, name: 'second' });
  t.is(resource.storageNode, world.node.name);
});

test('a redirect leads to the other port, and to none that the initiator’s fabric does not have', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 1 });
  const [first] = world.node.capabilities.targetPorts;
  const port = (wwpn: string, fabric: string) => ({ wwpn, fabric, state: 'online' as const, synthesized: true });
  const second = port('20:00:02:00:00:00:00:b2', 'local');
  const remote = port('20:00:02:00:00:00:00:b3', 'elsewhere');
  await world.store.resources.storageNodeRegister({
    name: 'node',
    exporter: 'simulator',
    backends: ['file'],
    canFence: false,
    targetPorts: [port(first?.wwpn ?? '', 'local'), second, remote],
  });
  const redirect = (namespace: string, redirectTo: string) => permit(namespace, { action: 'redirect', redirectTo });
  await world.run([create('v'), redirect('near', second.wwpn), redirect('far', remote.wwpn)]);
  const far = await problemOf(world, attach('v', 'host1', { namespace: 'far' }));
  t.is(far?.code, 'host-unreachable-paths');
  t.true(far?.detail.includes(remote.wwpn));
  t.deepEqual(words(await world.run([attach('v', 'host1', { namespace: 'near' })])), ['done']);
  t.deepEqual(
    (await world.attachmentOf('v')).paths.map(({ targetWwpn }) => targetWwpn),
    [second.wwpn],
  );
});

test('an export that is refused is told with the node’s reason, and can be tried again', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 1 });
  world.node.inject({ effect: 'fail', kind: 'export', problem: problem('device-busy', 'Not now.') });
  t.deepEqual(words(await world.run([create('v'), attach('v')])), ['done', 'device-busy']);
  t.is(await world.leftovers(), '');
  t.deepEqual(words(await world.run([attach('v', 'host2')])), ['done']);
  t.is((await world.attachmentOf('v')).epoch, 2);
});

for (const [who, next] of [
  ['another host', attach('v', 'host2')],
  ['the host itself', attach('v', 'host1')],
  ['a deletion', remove('v')],
] as const) {
  test(`${who} that comes for a volume while it is unexported waits for that, and is not refused`, async (t) => {
    const world = await OperationWorld.open(t, open, { free: 1 });
    await world.run([create('v'), attach('v', 'host1', { claim: true })]);
    const { id, epoch } = await world.attachmentOf('v');
    await world.accept([{ type: 'volume.detach', params: { attachment: id, gone: { epoch, proof: 'seen' } } }]);
    const { effects } = await world.advance();
    const waiting = await world.accept([next]);
    await world.advance();
    t.deepEqual(words(await world.batch(waiting)), ['running']);
    await world.settle(await world.carryOut(effects));
    await world.settleDown();
    t.deepEqual(words(await world.batch(waiting)), ['done']);
    t.is(await world.leftovers(), '');
  });
}

test('a detach of what nobody claimed frees the volume and its LUN number; again it is not found', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 2 });
  await world.run([create('v'), attach('v'), create('w'), attach('w')]);
  const { id, paths } = await world.attachmentOf('v');
  t.deepEqual(words(await world.run([detach(id)])), ['done']);
  t.like(await problemOf(world, detach(id)), { code: 'attachment-not-found', field: 'attachment' });
  await world.run([attach('v')]);
  t.deepEqual((await world.attachmentOf('v')).paths, paths);
  t.is(await world.leftovers(), '');
});

test('a policy is one for its flow: again it answers, other fields are refused, and its version guards the delete', async (t) => {
  const world = await OperationWorld.open(t, open);
  await world.store.resources.qosPolicyCreate({ name: 'gold', ...qosNone });
  const made = await world.run([permit('n', { qosPolicy: 'gold' })]);
  const id = made.operations[0]?.resource?.id ?? '';
  t.like(made.operations[0]?.resource, { kind: 'flow-policy', state: 'active', version: 1, namespace: 'n' });
  t.deepEqual(words(await world.run([permit('n'), permit('n', { qosPolicy: 'gold' })])), ['existing', 'existing']);
  t.like(await problemOf(world, permit('n', { action: 'deny' })), { code: 'name-taken', related: { flowPolicy: id } });
  t.like(await problemOf(world, permit('m', { qosPolicy: 'none' })), {
    code: 'qos-policy-not-found',
    field: 'qosPolicy',
  });
  t.like(await problemOf(world, removePolicy(id, 2)), { code: 'etag-mismatch', related: { flowPolicy: id } });
  t.deepEqual(words(await world.run([removePolicy(id, 1), removePolicy(id)])), ['done', 'flow-policy-not-found']);
  t.like(await problemOf(world, removePolicy('flow_none')), { code: 'flow-policy-not-found', field: 'flowPolicy' });
  t.is(await world.leftovers(), '');
});

test('HAZARD 16: what is asked again under the same key after an unknown commit changes nothing', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 2 });
  const idempotency = { route: '/v1/volumes', key: 'k', bodyHash: 'hash' };
  const lost = { ...world.newBatch([create('v')]), idempotency };
  await world.acceptAll([lost]);
  const [answer] = await world.acceptAll([{ ...world.newBatch([create('v')]), idempotency }]);
  t.deepEqual(answer, { accepted: true, batch: lost.id, replay: true });
  await world.advance();
  await world.settleDown();
  t.deepEqual(words(await world.batch(lost.id)), ['done']);
  t.like((await world.store.resources.poolGet(pool))?.status, { hits: 1, allocated: 1 });
});
