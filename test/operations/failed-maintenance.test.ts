/** Wipes, destructions and refills that do not succeed: told, kept on the volume, and quarantined where no time heals it. */
import test from 'ava';
import { problem } from '../../src/domain/errors.ts';
import { PoolRefill } from '../../src/maintenance/pool-refill.ts';
import { VolumeWipe } from '../../src/maintenance/volume-wipe.ts';
import { create, OperationWorld, remove, words } from '../support/operation-world.ts';
import { sqliteWorld } from '../support/store-world.ts';

const open = sqliteWorld();

async function returned(world: OperationWorld): Promise<string> {
  expectDone(words(await world.run([create('v')])));
  const id = (await world.store.resources.volumeGet('v'))?.id ?? '';
  expectDone(words(await world.run([remove('v')])));
  return id;
}

function expectDone(told: readonly string[]): void {
  if (told.join() !== 'done') throw new Error(told.join());
}

function wiping(world: OperationWorld): VolumeWipe {
  return new VolumeWipe({ store: world.store.maintenance, nodes: new Map([[world.node.name, world.node]]) });
}

test('a wipe that fails for now is told, and the volume says why it is not free', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 1 });
  const id = await returned(world);
  world.node.inject({ effect: 'fail', kind: 'wipe', problem: problem('device-busy', 'Somebody has it open.') });
  const error = await t.throwsAsync(wiping(world).run());
  t.is(error.message, 'One volume could not be wiped: Somebody has it open.');
  const volume = await world.store.resources.volumeGet(id);
  t.like(volume, { state: 'wiping', failureReason: 'device-busy: Somebody has it open.' });
  const again = wiping(world);
  again.recover();
  t.is(await again.run(), 1);
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
  const { maintenance, resources } = world.store;
  const second = { backend: 'file', volumeSizeBytes: 2 ** 24, minFree: 1, maxVolumes: 4, filesystem: 'ext4' } as const;
  await resources.poolCreate({ ...second, name: 'second' });
  world.node.inject({ effect: 'fail', kind: 'provision', problem: problem('out-of-space', 'The disk is full.') });
  const store = {
    refillRecover: maintenance.refillRecover.bind(maintenance),
    refillReserve: maintenance.refillReserve.bind(maintenance),
    refillSettle: maintenance.refillSettle.bind(maintenance),
    poolList: resources.poolList.bind(resources),
  };
  const refill = new PoolRefill({ store: store as never, nodes: new Map([[world.node.name, world.node]]) });
  await t.throwsAsync(refill.run(), { message: 'One volume could not be made: The disk is full.' });
  const free = (await resources.poolList({ pageSize: 10, pageToken: null })).items.map(({ status }) => status.free);
  t.deepEqual(free.sort(), [0, 1]);
});
