/** Pools and the life of their volumes: refill, wipe, destruction. */
import test from 'ava';
import { sql } from 'kysely';
import type { WipeRequest } from '../../src/storage-node/storage-node.ts';
import { migrate } from '../../src/store/kysely/migrate.ts';
import type { VolumeSettle } from '../../src/store/store.ts';
import { done, failed, firstPage, type OpenWorld, refusal, type StoreWorld, wiped } from '../support/store-world.ts';

export function storePoolsSuite(open: OpenWorld): void {
  poolTests(open);
  refillTests(open);
  wipeTests(open);
  destroyTests(open);
}

function poolTests(open: OpenWorld): void {
  test('a pool that is created again with equal fields is answered, with others refused', async (t) => {
    const world = await open(t);
    const pool = await world.pool();
    const commit = await world.commit();
    const again = await world.resources.poolCreate(pool);
    t.true(again.existing);
    t.like(again.resource, { name: 'pool', storageNode: 'node', version: 1, state: 'active' });
    t.is(await world.commit(), commit);
    t.is(await refusal(world.resources.poolCreate({ ...pool, minFree: 1 })), 'name-taken');
  });

  test('the first pool of a store is made once, whoever asks, and not again when it is gone', async (t) => {
    const world = await open(t);
    const first = { ...(await world.pool({ name: 'other' })), name: 'default' };
    const askers = [world, world.another(), world.another()];
    const made = await Promise.all(askers.map(({ resources }) => resources.poolCreateFirst(first)));
    t.deepEqual(made.sort(), [false, false, true]);
    t.is((await world.resources.poolGet('default'))?.state, 'active');
    await world.resources.poolDelete('default');
    t.false(await world.resources.poolCreateFirst(first));
    t.is(await world.resources.poolGet('default'), null);
  });

  test('a store of an earlier version that a storage node has worked on is not given a first pool', async (t) => {
    const world = await open(t);
    const pool = await world.pool();
    const { kysely } = world.database;
    await sql`DROP INDEX volumes_failures`.execute(kysely);
    await sql`ALTER TABLE volumes DROP COLUMN medium_failures`.execute(kysely);
    await sql`DELETE FROM kysely_migration WHERE name >= '0003-first-pool'`.execute(kysely);
    await migrate(world.database);
    await world.resources.poolDelete(pool.name);
    t.false(await world.resources.poolCreateFirst(pool));
    t.is(await world.resources.poolGet(pool.name), null);
  });

  test('a pool that has the name of the first one already is left as it is', async (t) => {
    const world = await open(t);
    const pool = await world.pool();
    t.false(await world.resources.poolCreateFirst({ ...pool, maxVolumes: 11 }));
    t.like(await world.resources.poolGet('pool'), { maxVolumes: pool.maxVolumes, version: 1 });
  });

  test('a pool needs a storage node with its backend and a minimum within its maximum', async (t) => {
    const world = await open(t);
    const pool = await world.pool();
    const create = (change: object) => refusal(world.resources.poolCreate({ ...pool, name: 'other', ...change }));
    t.is(await create({ backend: 'zfs' }), 'invalid-request');
    t.is(await create({ storageNode: 'nowhere' }), 'storage-node-not-found');
    t.is(await create({ minFree: 11 }), 'invalid-request');
  });

  test('a change of a pool compares its version, which counters do not move', async (t) => {
    const world = await open(t);
    await world.filledPool();
    t.like(await world.resources.poolUpdate('pool', { minFree: 1 }, 1), { minFree: 1, maxVolumes: 10, version: 2 });
    t.is(await refusal(world.resources.poolUpdate('pool', { minFree: 2 }, 1)), 'etag-mismatch');
    t.is(await refusal(world.resources.poolUpdate('pool', { maxVolumes: 0 }, null)), 'invalid-request');
    t.is(await refusal(world.resources.poolUpdate('none', {}, null)), 'pool-not-found');
    t.like(await world.resources.poolUpdate('pool', { draining: true }, null), { state: 'draining', version: 3 });
  });

  test('a pool with an allocated volume is not deleted, an empty one at once', async (t) => {
    const world = await open(t);
    const [id = ''] = await world.filledPool();
    await world.allocate(id, 'data');
    t.is(await refusal(world.resources.poolDelete('pool')), 'pool-in-use');
    await world.pool({ name: 'empty' });
    t.deepEqual(await world.resources.poolDelete('empty'), { removed: true });
    t.is(await world.resources.poolGet('empty'), null);
    t.is(await refusal(world.resources.poolDelete('empty')), 'pool-not-found');
  });

  test('a deleted pool drains and its row goes with its last volume', async (t) => {
    const world = await open(t);
    const { maintenance, resources } = world;
    const [first = ''] = await world.filledPool();
    const pool = { name: 'pool', backend: 'file', volumeSizeBytes: 1, minFree: 0, maxVolumes: 1, filesystem: 'ext4' };
    await world.allocate(first, 'data');
    await world.giveBack(first);
    t.deepEqual(await resources.poolDelete('pool'), { removed: false });
    t.is(await refusal(resources.poolCreate({ ...pool, filesystem: 'ext4' })), 'pool-draining');
    t.is(await refusal(resources.poolUpdate('pool', { draining: false }, null)), 'pool-draining');
    t.deepEqual(await maintenance.wipeTake({ all: true, atMost: 10 }), []);
    t.is(await maintenance.poolTrim(), 2);
    const effects = await maintenance.destroyTake({ all: false, atMost: 10 });
    t.is(effects.length, 3);
    await maintenance.destroySettle(effects.map(({ request }) => done(request)));
    t.is(await resources.poolGet('pool'), null);
    t.deepEqual((await resources.volumeList({}, firstPage)).items, []);
  });

  test('a deleted pool goes too when its last volume could not be made', async (t) => {
    const world = await open(t);
    await world.pool({ minFree: 1 });
    const [effect] = await world.maintenance.refillReserve('pool', 1);
    t.deepEqual(await world.resources.poolDelete('pool'), { removed: false });
    if (effect !== undefined) await world.maintenance.refillSettle([failed(effect.request)]);
    t.is(await world.resources.poolGet('pool'), null);
  });

  test('a blocked pool tells why and is not refilled, and blocking it again writes nothing', async (t) => {
    const world = await open(t);
    await world.pool();
    await world.maintenance.poolBlock('pool', 'space is low');
    t.is((await world.resources.poolGet('pool'))?.status.blockedReason, 'space is low');
    const commit = await world.commit();
    await world.maintenance.poolBlock('pool', 'space is low');
    t.deepEqual(await world.maintenance.refillReserve('pool', 10), []);
    t.is(await world.commit(), commit);
    await world.maintenance.poolBlock('pool', null);
    t.is((await world.maintenance.refillReserve('pool', 10)).length, 3);
  });
}

function refillTests(open: OpenWorld): void {
  test('HAZARD 18: refill stops at the minimum and never exceeds the maximum', async (t) => {
    const world = await open(t);
    const ids = await world.filledPool({ minFree: 3, maxVolumes: 4 });
    t.deepEqual(await world.maintenance.refillReserve('pool', 10), []);
    for (const id of ids) await world.allocate(id, id.toLowerCase());
    const more = await world.maintenance.refillReserve('pool', 10);
    t.is(more.length, 1);
    t.deepEqual(await world.maintenance.refillReserve('pool', 10), []);
    t.deepEqual(await world.miscounts(), []);
  });

  test('HAZARD 18: refills that run at once share the slots of a pool', async (t) => {
    const world = await open(t);
    await world.pool({ minFree: 8, maxVolumes: 8 });
    const others = [world, world.another(), world.another()];
    const effects = await Promise.all(others.map(({ maintenance }) => maintenance.refillReserve('pool', 5)));
    t.is(effects.flat().length, 8);
    t.deepEqual(await world.miscounts(), []);
  });

  test('a volume that was made is free, one that was not leaves no row, a damaged one is quarantined', async (t) => {
    const world = await open(t);
    await world.pool();
    const [made, missing, damaged] = await world.maintenance.refillReserve('pool', 3);
    if (made === undefined || missing === undefined || damaged === undefined) return t.fail();
    t.is(made.request.mediaGeneration, made.request.generation);
    await world.maintenance.refillSettle([done(made.request), failed(missing.request), failed(damaged.request, true)]);
    t.like(await world.resources.volumeGet(made.request.volumeId), { state: 'free', formatted: true });
    t.is(await world.resources.volumeGet(missing.request.volumeId), null);
    t.like(await world.resources.volumeGet(damaged.request.volumeId), {
      state: 'failed',
      failureReason: 'device-busy: It is still in use.',
    });
    t.like((await world.resources.poolGet('pool'))?.status, { provisioning: 0, free: 1, failed: 1 });
  });

  test('HAZARD 1: a refill is made again under a higher generation, and its late outcome changes nothing', async (t) => {
    const world = await open(t);
    await world.pool({ minFree: 1 });
    const [first] = await world.maintenance.refillReserve('pool', 1);
    if (first === undefined) return t.fail();
    t.deepEqual(await world.maintenance.refillRecover({ all: false, atMost: 10 }), []);
    await world.expireLeases();
    const [second] = await world.maintenance.refillRecover({ all: false, atMost: 10 });
    if (second === undefined) return t.fail();
    t.true(second.request.generation > first.request.generation);
    t.is(second.request.mediaGeneration, first.request.mediaGeneration);
    await world.maintenance.refillSettle([done(first.request)]);
    await world.maintenance.refillSettle([failed(first.request, true)]);
    await world.maintenance.refillSettle([failed(first.request)]);
    t.is((await world.resources.volumeGet(first.request.volumeId))?.state, 'provisioning');
    await world.maintenance.refillSettle([done(second.request), done(second.request)]);
    t.is((await world.resources.volumeGet(first.request.volumeId))?.state, 'free');
    t.deepEqual(await world.miscounts(), []);
  });

  test('a volume that an operation has made is not the refill’s', async (t) => {
    const world = await open(t);
    await world.pool({ minFree: 1 });
    const [effect] = await world.maintenance.refillReserve('pool', 1);
    if (effect === undefined) return t.fail();
    await sql`UPDATE volumes SET pending_operation = 'batch_1-0'`.execute(world.database.kysely);
    t.deepEqual(await world.maintenance.refillRecover({ all: true, atMost: 10 }), []);
    await world.maintenance.refillSettle([done(effect.request), failed(effect.request)]);
    t.is((await world.resources.volumeGet(effect.request.volumeId))?.state, 'provisioning');
    t.is((await world.maintenance.refillReserve('pool', 5)).length, 1);
  });
}

async function returned(world: StoreWorld): Promise<string> {
  const [id = ''] = await world.filledPool({ minFree: 1 });
  await world.allocate(id, 'data');
  await world.giveBack(id);
  return id;
}

function wipeTests(open: OpenWorld): void {
  test('HAZARD 5: a wiped volume is free under a new serial, WWID and medium, and its epoch goes on', async (t) => {
    const world = await open(t);
    const id = await returned(world);
    await sql`UPDATE volumes SET epoch = 7, labels = '{"a":"b"}'`.execute(world.database.kysely);
    const before = await world.resources.volumeGet(id);
    t.is(await world.maintenance.wipeBacklog(), 1);
    const [effect] = await world.maintenance.wipeTake({ all: false, atMost: 10 });
    if (effect === undefined || before === null) return t.fail();
    t.is(effect.request.oldMediaGeneration, before.mediaGeneration);
    t.is(effect.request.newMediaGeneration, effect.request.generation);
    await world.maintenance.wipeSettle([wiped(effect.request)]);
    const after = await world.resources.volumeGet(id);
    t.like(after, { state: 'free', name: null, epoch: 7, formatted: true, mediaGeneration: effect.request.generation });
    t.deepEqual(after?.labels, {});
    t.is(before.wipeProof, null);
    t.like(after?.wipeProof, { generation: effect.request.generation, method: 'simulated', verifiedBytes: 1 });
    t.true((after?.wipeProof?.at ?? 0) >= (before.allocatedAt ?? before.createdAt));
    t.not(after?.serial, before.serial);
    t.not(after?.wwid, before.wwid);
    t.deepEqual(await world.miscounts(), []);
  });

  test('HAZARD 3: a volume is not wiped while an attachment is left, whatever its own row says', async (t) => {
    const world = await open(t);
    const [id = ''] = await world.filledPool({ minFree: 1 });
    await world.host();
    await world.allocate(id, 'data');
    const attachment = await world.attach(id, { state: 'quarantined', hostSide: 'attached' });
    await world.giveBack(id);
    await sql`UPDATE volumes SET writer = NULL`.execute(world.database.kysely);
    t.deepEqual(await world.maintenance.wipeTake({ all: true, atMost: 10 }), []);
    await world.detach(attachment);
    t.is((await world.maintenance.wipeTake({ all: true, atMost: 10 })).length, 1);
  });

  test('HAZARD 17: an interrupted wipe begins again with the old medium, and its late outcome changes nothing', async (t) => {
    const world = await open(t);
    const id = await returned(world);
    const [first] = await world.maintenance.wipeTake({ all: false, atMost: 10 });
    t.deepEqual(await world.maintenance.wipeTake({ all: false, atMost: 10 }), []);
    const [second] = await world.maintenance.wipeTake({ all: true, atMost: 10 });
    if (first === undefined || second === undefined) return t.fail();
    t.true(second.request.generation > first.request.generation);
    t.is(second.request.oldMediaGeneration, first.request.oldMediaGeneration);
    await world.maintenance.wipeSettle([wiped(first.request)]);
    await world.maintenance.wipeSettle([failed(first.request, true)]);
    t.is((await world.resources.volumeGet(id))?.state, 'wiping');
    await world.maintenance.wipeSettle([wiped(second.request)]);
    t.is((await world.resources.volumeGet(id))?.mediaGeneration, second.request.generation);
  });

  test('HAZARD 8: wipes that are taken at once never take one volume twice', async (t) => {
    const world = await open(t);
    const ids = await world.filledPool({ minFree: 12, maxVolumes: 12 });
    for (const id of ids) {
      await world.allocate(id, id.toLowerCase());
      await world.giveBack(id);
    }
    const others = [world, world.another(), world.another(), world.another()];
    const taken = await Promise.all(others.map(({ maintenance }) => maintenance.wipeTake({ all: false, atMost: 5 })));
    const volumes = taken.flat().map(({ request }) => request.volumeId);
    t.deepEqual(volumes.toSorted(), ids.toSorted());
  });

  test('what a dead worker had begun is taken first by who takes all', async (t) => {
    const world = await open(t);
    const ids = await world.filledPool({ minFree: 3, maxVolumes: 3 });
    for (const id of ids) {
      await world.allocate(id, id.toLowerCase());
      await world.giveBack(id);
    }
    const [begun] = await world.maintenance.wipeTake({ all: false, atMost: 1 });
    const [again] = await world.maintenance.wipeTake({ all: true, atMost: 1 });
    t.is(again?.request.volumeId, begun?.request.volumeId);
  });

  test('a wipe without the proof of its generation never frees a volume', async (t) => {
    const world = await open(t);
    const id = await returned(world);
    const [effect] = await world.maintenance.wipeTake({ all: false, atMost: 10 });
    if (effect === undefined) return t.fail();
    await t.throwsAsync(world.maintenance.wipeSettle([done(effect.request)]), { message: /wipe-without-proof/ });
    t.is((await world.resources.volumeGet(id))?.state, 'wiping');
  });

  test('a wipe that fails is tried again later, and a quarantined volume is wiped once it is cleared', async (t) => {
    const world = await open(t);
    const id = await returned(world);
    const [first] = await world.maintenance.wipeTake({ all: false, atMost: 10 });
    if (first === undefined) return t.fail();
    await world.maintenance.wipeSettle([failed(first.request)]);
    t.like(await world.resources.volumeGet(id), { state: 'wiping', failureReason: 'device-busy: It is still in use.' });
    t.deepEqual(await world.maintenance.wipeTake({ all: false, atMost: 10 }), []);
    t.is(await refusal(world.resources.volumeClear(id)), 'volume-not-failed');
    await world.expireLeases();
    const [second] = await world.maintenance.wipeTake({ all: false, atMost: 10 });
    if (second === undefined) return t.fail();
    await world.maintenance.wipeSettle([failed(second.request, true)]);
    t.like(await world.resources.volumeGet(id), { state: 'failed', failureReason: 'device-busy: It is still in use.' });
    t.like(await world.resources.volumeClear(id), { state: 'wiping', failureReason: null });
    t.is((await world.maintenance.wipeTake({ all: false, atMost: 10 })).length, 1);
    t.is(await refusal(world.resources.volumeClear('nothing')), 'volume-not-found');
    t.deepEqual(await world.miscounts(), []);
  });

  test('how often a medium has failed is kept until it is wiped or cleared', async (t) => {
    const world = await open(t);
    const id = await returned(world);
    const takeAndSettle = async (settle: (request: WipeRequest) => VolumeSettle) => {
      const [effect] = await world.maintenance.wipeTake({ all: true, atMost: 10 });
      if (effect !== undefined) await world.maintenance.wipeSettle([settle(effect.request)]);
      return effect?.mediumFailures;
    };
    t.is(await takeAndSettle((request) => failed(request, false, 1)), 0);
    t.is(await takeAndSettle((request) => failed(request, false, 2)), 1);
    t.is(await takeAndSettle((request) => failed(request, true, 3)), 2);
    await world.resources.volumeClear(id);
    t.is(await takeAndSettle((request) => failed(request, false, 1)), 0);
    t.is(await takeAndSettle(wiped), 1);
    await world.allocate(id, 'data');
    await world.giveBack(id);
    t.is(await takeAndSettle((request) => failed(request)), 0);
  });

  test('returned volumes whose wipe did not succeed are counted by pool', async (t) => {
    const world = await open(t);
    const id = await returned(world);
    t.deepEqual(await world.maintenance.wipesFailed(), new Map());
    const [effect] = await world.maintenance.wipeTake({ all: true, atMost: 10 });
    if (effect === undefined) return t.fail();
    t.deepEqual(await world.maintenance.wipesFailed(), new Map());
    await world.maintenance.wipeSettle([failed(effect.request)]);
    t.deepEqual(await world.maintenance.wipesFailed(), new Map([['pool', 1]]));
    const [again] = await world.maintenance.wipeTake({ all: true, atMost: 10 });
    if (again !== undefined) await world.maintenance.wipeSettle([failed(again.request, true)]);
    t.is((await world.resources.volumeGet(id))?.state, 'failed');
    t.deepEqual(await world.maintenance.wipesFailed(), new Map());
  });

  test('a quarantined volume that is still attached is not cleared', async (t) => {
    const world = await open(t);
    const [id = ''] = await world.filledPool({ minFree: 1 });
    await world.allocate(id, 'data');
    const attachment = await world.attach(id);
    await world.move({ id, from: 'allocated', to: 'failed' }, sql`failure_reason = 'x'`);
    t.is(await refusal(world.resources.volumeClear('data')), 'volume-in-use');
    await world.detach(attachment);
    t.like(await world.resources.volumeClear('data'), { state: 'wiping', name: null });
  });
}

function destroyTests(open: OpenWorld): void {
  test('a pool that was made smaller gives its free volumes up, the newest first, and keeps what fits', async (t) => {
    const world = await open(t);
    const ids = await world.filledPool({ minFree: 4, maxVolumes: 4 });
    await world.allocate(ids[0] ?? '', 'data');
    await world.resources.poolUpdate('pool', { minFree: 1, maxVolumes: 2 }, null);
    t.is(await world.maintenance.poolTrim(), 2);
    const commit = await world.commit();
    t.is(await world.maintenance.poolTrim(), 0);
    t.is(await world.commit(), commit);
    const effects = await world.maintenance.destroyTake({ all: false, atMost: 10 });
    t.deepEqual(effects.map(({ request }) => request.volumeId).toSorted(), ids.slice(2));
    t.like((await world.resources.poolGet('pool'))?.status, { free: 1, allocated: 1, retired: 2 });
  });

  test('a returned volume without a pool is destroyed and not wiped', async (t) => {
    const world = await open(t);
    const id = await returned(world);
    await world.database.change(async (tx) => {
      await sql`UPDATE volumes SET pool = NULL`.execute(tx.db);
      await sql`UPDATE pools SET wiping = 0`.execute(tx.db);
    });
    t.deepEqual(await world.maintenance.wipeTake({ all: true, atMost: 10 }), []);
    const [first] = await world.maintenance.destroyTake({ all: false, atMost: 10 });
    const [second] = await world.maintenance.destroyTake({ all: true, atMost: 10 });
    if (first === undefined || second === undefined) return t.fail();
    await world.maintenance.destroySettle([done(first.request)]);
    t.is((await world.resources.volumeGet(id))?.state, 'wiping');
    await world.maintenance.destroySettle([done(second.request)]);
    t.is(await world.resources.volumeGet(id), null);
  });

  test('a volume that cannot be destroyed is quarantined with the reason or tried again later', async (t) => {
    const world = await open(t);
    await world.filledPool({ minFree: 2 });
    await world.resources.poolUpdate('pool', { draining: true }, null);
    t.is(await world.maintenance.poolTrim(), 2);
    const [kept, later] = await world.maintenance.destroyTake({ all: false, atMost: 10 });
    if (kept === undefined || later === undefined) return t.fail();
    await world.maintenance.destroySettle([failed(kept.request, true), failed(later.request, false, 1)]);
    t.is((await world.resources.volumeGet(kept.request.volumeId))?.state, 'failed');
    const waiting = await world.resources.volumeGet(later.request.volumeId);
    t.like(waiting, { state: 'retired', failureReason: 'device-busy: It is still in use.' });
    t.deepEqual(await world.maintenance.destroyTake({ all: false, atMost: 10 }), []);
    await world.expireLeases();
    t.like(await world.maintenance.destroyTake({ all: false, atMost: 10 }), [{ mediumFailures: 1 }]);
    t.deepEqual(await world.miscounts(), []);
  });
}
