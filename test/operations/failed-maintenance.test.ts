/** Wipes, destructions and refills that do not succeed: told, kept on the volume, and quarantined where no time heals it. */
import test from 'ava';
import { limits } from '../../src/config/limits.ts';
import { type ErrorCode, Failure, problem } from '../../src/domain/errors.ts';
import { PoolRefill } from '../../src/maintenance/pool-refill.ts';
import type { RecoveringReconciler } from '../../src/maintenance/reconciler.ts';
import { volumeDestroy } from '../../src/maintenance/volume-destroy.ts';
import { volumeWipe } from '../../src/maintenance/volume-wipe.ts';
import type { StorageNode } from '../../src/storage-node/storage-node.ts';
import { create, createOnDemand, OperationWorld, remove, words } from '../support/operation-world.ts';
import { sqliteWorld } from '../support/store-world.ts';

const open = sqliteWorld();

async function returned(world: OperationWorld, name = 'v'): Promise<string> {
  expectDone(words(await world.run([create(name)])));
  const id = (await world.store.resources.volumeGet(name))?.id ?? '';
  expectDone(words(await world.run([remove(name)])));
  return id;
}

function expectDone(told: readonly string[]): void {
  if (told.join() !== 'done') throw new Error(told.join());
}

function nodesOf(world: OperationWorld): ReadonlyMap<string, StorageNode> {
  return new Map([[world.node.name, world.node]]);
}

function wiping(world: OperationWorld): RecoveringReconciler {
  return volumeWipe(world.store.maintenance, nodesOf(world));
}

/** One that does not wait for leases. */
async function again(reconciler: RecoveringReconciler): Promise<number> {
  reconciler.recover();
  return await reconciler.run();
}

function refilling(world: OperationWorld): PoolRefill {
  const { maintenance, resources } = world.store;
  const store = {
    refillRecover: maintenance.refillRecover.bind(maintenance),
    refillReserve: maintenance.refillReserve.bind(maintenance),
    refillSettle: maintenance.refillSettle.bind(maintenance),
    wipesFailed: maintenance.wipesFailed.bind(maintenance),
    poolList: resources.poolList.bind(resources),
  };
  return new PoolRefill({ store: store as never, nodes: nodesOf(world) });
}

const firstPage = { pageSize: 10, pageToken: null };

test('a wipe that fails for now is told, and the volume says why it is not free', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 1 });
  const id = await returned(world);
  world.node.inject({ effect: 'fail', kind: 'wipe', problem: problem('device-busy', 'Somebody has it open.') });
  const error = await t.throwsAsync(wiping(world).run());
  t.is(error.message, 'One volume could not be wiped: Somebody has it open.');
  const volume = await world.store.resources.volumeGet(id);
  t.like(volume, { state: 'wiping', failureReason: 'device-busy: Somebody has it open.' });
  t.is(await again(wiping(world)), 1);
  t.like(await world.store.resources.volumeGet(id), { state: 'free', failureReason: null });
});

test('HAZARD 8: a medium that still holds data after its wipe is quarantined', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 1 });
  const id = await returned(world);
  world.node.inject({ effect: 'fail', kind: 'wipe', problem: problem('medium-not-empty', 'Data at byte 7.') });
  await t.throwsAsync(wiping(world).run(), { message: /One volume could not be wiped: Data at byte 7/ });
  t.like(await world.store.resources.volumeGet(id), {
    state: 'failed',
    failureReason: 'medium-not-empty: Data at byte 7.',
  });
});

test('a pool that cannot be filled fails its run with the reason, and the other pools are filled', async (t) => {
  const world = await OperationWorld.open(t, open, { pool: { minFree: 1 } });
  const { resources } = world.store;
  const second = { backend: 'file', volumeSizeBytes: 2 ** 24, minFree: 1, maxVolumes: 4, filesystem: 'ext4' } as const;
  await resources.poolCreate({ ...second, name: 'second' });
  world.node.inject({ effect: 'fail', kind: 'provision', problem: problem('out-of-space', 'The disk is full.') });
  await t.throwsAsync(refilling(world).run(), { message: 'One volume could not be made: The disk is full.' });
  const free = (await resources.poolList(firstPage)).items.map(({ status }) => status.free);
  t.deepEqual(free.sort(), [0, 1]);
});

test('a pool waits for a returned volume, but not for one whose wipe did not succeed', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 4, pool: { minFree: 4, maxVolumes: 10 } });
  await returned(world);
  t.is(await refilling(world).run(), 0);
  world.node.inject({ effect: 'fail', kind: 'wipe', problem: problem('device-busy', 'Somebody has it open.') });
  await t.throwsAsync(wiping(world).run());
  t.is(await refilling(world).run(), 1);
  t.like((await world.store.resources.poolGet('pool'))?.status, { free: 4, wiping: 1 });
});

test('a medium that cannot be wiped time after time is quarantined, with the reason', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 1 });
  const id = await returned(world);
  const broken = problem('device-error', 'read: EIO');
  const fault = world.node.inject({ effect: 'fail', kind: 'wipe', problem: broken, times: 1_000 });
  for (let attempt = 1; attempt < limits.mediumFailures; attempt += 1) {
    await t.throwsAsync(again(wiping(world)), { message: 'One volume could not be wiped: read: EIO.' });
  }
  t.like(await world.store.resources.volumeGet(id), { state: 'wiping', failureReason: 'device-error: read: EIO' });
  await t.throwsAsync(again(wiping(world)));
  const failureReason = `device-error: read: EIO (${limits.mediumFailures} attempts failed)`;
  t.like(await world.store.resources.volumeGet(id), { state: 'failed', failureReason });
  fault.end();
  t.is(await again(wiping(world)), 0);
  await world.store.resources.volumeClear(id);
  t.is(await again(wiping(world)), 1);
  t.like(await world.store.resources.volumeGet(id), { state: 'free', failureReason: null });
});

for (const code of ['out-of-space', 'device-busy', 'storage-failed', 'stale-generation'] satisfies ErrorCode[]) {
  test(`however often a wipe ends with ${code}, its volume is not quarantined`, async (t) => {
    const world = await OperationWorld.open(t, open, { free: 1 });
    const id = await returned(world);
    const times = 3 * limits.mediumFailures;
    const fault = world.node.inject({ effect: 'fail', kind: 'wipe', problem: problem(code, 'No.'), times });
    for (let attempt = 0; attempt < times; attempt += 1) {
      await again(wiping(world)).catch((error: unknown) => t.is((error as Failure).code, code));
    }
    t.is(fault.hits, times, 'each run tries it once');
    t.is((await world.store.resources.volumeGet(id))?.state, 'wiping');
    t.is(await again(wiping(world)), 1);
  });
}

test('a storage node that does not answer quarantines nothing, and its error is the reason of the run', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 1 });
  const id = await returned(world);
  world.node.inject({ effect: 'throw', kind: 'wipe', times: 2 * limits.mediumFailures });
  for (let attempt = 0; attempt < 2 * limits.mediumFailures; attempt += 1) {
    await t.throwsAsync(again(wiping(world)), {
      instanceOf: Failure,
      message: 'Storage node "node": Storage node node did not answer.',
    });
  }
  t.is((await world.store.resources.volumeGet(id))?.state, 'wiping');
  t.is(await again(wiping(world)), 1);
});

test('a volume that cannot be destroyed is told, and quarantined when its medium fails time after time', async (t) => {
  const world = await OperationWorld.open(t, open);
  expectDone(words(await world.run([createOnDemand('v')])));
  const id = (await world.store.resources.volumeGet('v'))?.id ?? '';
  expectDone(words(await world.run([remove('v')])));
  const destroying = () => volumeDestroy(world.store.maintenance, nodesOf(world));
  const broken = problem('device-error', 'fsync: EIO');
  world.node.inject({ effect: 'fail', kind: 'destroy', problem: broken, times: limits.mediumFailures });
  await t.throwsAsync(again(destroying()), { message: 'One volume could not be destroyed: fsync: EIO.' });
  t.like(await world.store.resources.volumeGet(id), { state: 'wiping', failureReason: 'device-error: fsync: EIO' });
  for (let attempt = 1; attempt < limits.mediumFailures; attempt += 1) await t.throwsAsync(again(destroying()));
  const failureReason = `device-error: fsync: EIO (${limits.mediumFailures} attempts failed)`;
  t.like(await world.store.resources.volumeGet(id), { state: 'failed', failureReason });
  await world.store.resources.volumeClear(id);
  t.is(await again(destroying()), 1);
  t.is(await world.store.resources.volumeGet(id), null);
});

test('a run tells each reason once, up to a limit, and how many more there are', async (t) => {
  const count = limits.failureReasonsTold + 3;
  const world = await OperationWorld.open(t, open, { free: count });
  for (let at = 0; at < count; at += 1) {
    const id = await returned(world, `v${at}`);
    const detail = at === 0 ? 'No. 1.' : `No. ${at}.`;
    world.node.inject({ effect: 'fail', kind: 'wipe', volumeId: id, problem: problem('device-busy', detail) });
  }
  const error = await t.throwsAsync(wiping(world).run());
  t.regex(error.message, new RegExp(`^${count} volumes could not be wiped: No. [^;]*(; No. [^;]*){4}; and 2 more`));
});

test('what one storage node could not answer is told though another one did', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 2 });
  const [id] = [await returned(world, 'a'), await returned(world, 'b')];
  const other = { ...world.node, name: 'other', wipe: () => Promise.reject(new Error('a bug')) } as never;
  const { maintenance } = world.store;
  const store = {
    wipeSettle: maintenance.wipeSettle.bind(maintenance),
    wipeTake: async (options: { readonly all: boolean; readonly atMost: number }) => {
      const taken = await maintenance.wipeTake(options);
      return taken.map((each) => (each.request.volumeId === id ? { ...each, storageNode: 'other' } : each));
    },
  };
  const nodes = new Map([...nodesOf(world), ['other', other] as const]);
  const error = await t.throwsAsync(volumeWipe(store as never, nodes).run(), { instanceOf: Failure });
  t.is(error.message, 'Storage node "other": a bug');
  t.is(error.code, 'internal');
  t.is((error.cause as Error).message, 'a bug');
  t.is((await world.store.resources.poolGet('pool'))?.status.free, 1);
});

test('a volume that cannot be made on demand is the storage’s fault, and nothing is left of it', async (t) => {
  const world = await OperationWorld.open(t, open);
  const broken = problem('storage-failed', 'mkfs.ext4 -F /somewhere/vol.img: exit code 1: Input/output error');
  world.node.inject({ effect: 'fail', kind: 'provision', problem: broken });
  const [operation] = (await world.run([createOnDemand('v')])).operations;
  t.like(operation, { state: 'failed', problem: { code: 'storage-failed', related: { storageNode: 'node' } } });
  t.regex(operation?.problem?.detail ?? '', /^Storage node "node" could not make the volume .*the log/);
  t.notRegex(operation?.problem?.detail ?? '', /mkfs|somewhere/);
  t.is(await world.store.resources.volumeGet('v'), null);
  t.is(await world.leftovers(), '');
  t.deepEqual((await world.node.inventory()).media, []);
});

test('a creation whose way back fails as well ends all the same, and the maintenance removes what is left', async (t) => {
  const world = await OperationWorld.open(t, open, { pool: { minFree: 0, maxVolumes: 1 } });
  const broken = problem('device-error', 'open: EIO');
  world.node.inject({ effect: 'fail', kind: 'provision', problem: broken });
  world.node.inject({ effect: 'fail', kind: 'destroy', problem: broken });
  t.deepEqual(words(await world.run([create('v')])), ['storage-failed']);
  t.is(await world.store.resources.volumeGet('v'), null);
  const [left] = (await world.store.resources.volumeList({}, firstPage)).items;
  t.like(left, { state: 'retired', name: null, failureReason: 'device-error: open: EIO' });
  t.deepEqual(words(await world.run([create('v')])), ['pool-exhausted']);
  t.is(await again(volumeDestroy(world.store.maintenance, nodesOf(world))), 1);
  t.deepEqual(words(await world.run([create('v')])), ['done']);
  t.is(await world.leftovers(), '');
  t.like((await world.store.resources.poolGet('pool'))?.status, { allocated: 1, retired: 0 });
});
