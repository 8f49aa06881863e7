/** A store that has fallen behind what its storage node has carried out, while the worker runs. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import test from 'ava';
import { newId } from '../../src/domain/ids.ts';
import type { OperationSpec } from '../../src/domain/operation.ts';
import { Ownership } from '../../src/maintenance/ownership.ts';
import type { StorageNode, StoreStamp } from '../../src/storage-node/storage-node.ts';
import type { MaintenanceStore } from '../../src/store/store.ts';
import { ControlPlaneWorld } from '../support/control-plane-world.ts';
import { until } from '../support/daemon.ts';
import { admin } from '../support/store-world.ts';

const port = { wwpn: '20:00:02:00:00:00:00:a1', fabric: 'local', state: 'online', synthesized: true } as const;
const registration = { name: 'host1', machineId: 'machine', bootId: 'boot', simulated: true, initiatorPorts: [port] };
const pool = { name: 'fast', backend: 'file', storageNode: 'local', minFree: 0, maxVolumes: 4 } as const;

async function run(world: ControlPlaneWorld, operation: OperationSpec): Promise<string> {
  const id = newId('batch');
  const batch = {
    id,
    atomicity: 'per-operation',
    operations: [operation],
    principal: admin,
    idempotency: null,
  } as const;
  await world.controlPlane.intake.accept(batch);
  return id;
}

async function stateOf(world: ControlPlaneWorld, batch: string): Promise<string | undefined> {
  return (await world.store.batchGet(batch))?.operations[0]?.state;
}

test('HAZARDS 2: an effect that the node refuses as older than what it carried out stops the worker, until adopted', async (t) => {
  const world = await ControlPlaneWorld.open();
  t.teardown(() => world.close());
  const { store, node, controlPlane } = world;
  await store.hostRegister(registration, admin);
  await store.poolCreate({ ...pool, volumeSizeBytes: 16 * 1024 * 1024, filesystem: 'ext4' });
  const created = await run(world, { type: 'volume.create', params: { name: 'data', pool: 'fast' } });
  await until(async () => (await stateOf(world, created)) === 'succeeded', { what: 'the volume is made' });
  const volumeId = (await store.volumeGet('data'))?.id ?? '';
  t.deepEqual(await controlPlane.readiness(), { unready: [], degraded: [] });

  const { storeId, highestGeneration } = await store.storeStamp();
  await node.unexport([{ attachmentId: 'att_lost', volumeId, generation: highestGeneration + 1_000, paths: [] }]);
  const params = { volume: 'data', host: 'host1', accessMode: 'single-writer' } as const;
  const attach = await run(world, { type: 'volume.attach', params });
  const unready = async () => (await controlPlane.readiness()).unready;
  await until(async () => (await unready()).length > 0, { what: 'the worker has noticed' });
  t.regex((await unready())[0]?.reason ?? '', /behind the data of storage node/);
  t.is(await stateOf(world, attach), 'running');
  t.true((await store.storeStamp()).highestGeneration < highestGeneration + 1_000);
  t.deepEqual((await node.inventory()).exports, []);

  await controlPlane.adopt('local');
  await until(async () => (await stateOf(world, attach)) === 'succeeded', { what: 'it is carried on' });
  t.not((await store.storeStamp()).storeId, storeId);
  t.deepEqual(await unready(), []);
});

test('HAZARDS 2: the stamp beside the volumes follows the store, also where nothing is to be brought in line', async (t) => {
  const world = await ControlPlaneWorld.open();
  t.teardown(() => world.close());
  const { store, node, controlPlane } = world;
  await store.hostRegister(registration, admin);
  await controlPlane.maintenance.runNow('export-reconcile');
  const { highestGeneration } = await store.storeStamp();
  t.true(((await node.stamp())?.highestGeneration ?? 0) >= highestGeneration);
});

test('HAZARDS 2: an effect that is carried out while store and data are compared does not make the store look behind', async (t) => {
  let generation = 1;
  let isFirst = true;
  const soon = () => ({ storeId: 'one', highestGeneration: generation });
  const stamped: number[] = [];
  const node = {
    name: 'local',
    stamp: async () => {
      const there = soon();
      generation += 1;
      return there;
    },
    setStamp: async ({ highestGeneration }: StoreStamp) => {
      await nextTurn();
      stamped.push(highestGeneration);
    },
  } as Partial<StorageNode> as StorageNode;
  const storeStamp = async () => {
    const ours = soon();
    generation += 1;
    const turns = isFirst ? 10 : 0;
    isFirst = false;
    for (let turn = 0; turn < turns; turn += 1) await nextTurn();
    return ours;
  };
  const ownership = new Ownership({ storeStamp } as Partial<MaintenanceStore> as MaintenanceStore);
  t.deepEqual(await Promise.all(Array.from({ length: 3 }, () => ownership.isOurs(node))), [true, true, true]);
  t.deepEqual(
    stamped,
    stamped.toSorted((one, other) => one - other),
  );
});
