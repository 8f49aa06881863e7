/** A worker whose store others can be on: it acts while it has the lease, and takes up what its predecessor left. */
import test, { type ExecutionContext } from 'ava';
import type { WorkerLease } from '../../src/bin/compose/mandate.ts';
import { type LeasedWorker, nodeLeaseName } from '../../src/bin/compose/node-lease.ts';
import { limits } from '../../src/config/limits.ts';
import { newId } from '../../src/domain/ids.ts';
import type { LeaseTerm, Store } from '../../src/store/store.ts';
import { ControlPlaneWorld } from '../support/control-plane-world.ts';
import { until } from '../support/daemon.ts';
import { admin } from '../support/store-world.ts';

/** It is held or not, as the test says. */
class FakeLease implements WorkerLease {
  isHeld = true;
  term: LeaseTerm = { name: nodeLeaseName, token: 0 };
  #worker: LeasedWorker | null = null;

  async takeFrom(store: Store): Promise<void> {
    const token = await store.leaseTake(nodeLeaseName, 'this', limits.nodeLeaseMs);
    this.term = { name: nodeLeaseName, token: token ?? 0 };
  }

  mayAct(): boolean {
    return this.isHeld;
  }

  get trouble(): string | null {
    return this.isHeld ? null : 'Another has it.';
  }

  leads(worker: LeasedWorker): void {
    this.#worker = worker;
  }

  async takeAnew(): Promise<void> {
    await this.#worker?.recover();
    this.isHeld = true;
    this.#worker?.resume();
  }
}

const pool = { name: 'fast', backend: 'file', storageNode: 'local', volumeSizeBytes: 16 * 1024 * 1024 } as const;

interface Leased {
  readonly lease: FakeLease;
  readonly before?: (store: Store) => Promise<void>;
}

async function open(t: ExecutionContext, { lease, before }: Leased): Promise<ControlPlaneWorld> {
  const found = async (store: Store) => {
    await before?.(store);
    await lease.takeFrom(store);
  };
  const world = await ControlPlaneWorld.open({}, { lease, before: found });
  t.teardown(() => world.close());
  return world;
}

async function poolCreate(store: Store, minFree = 0): Promise<void> {
  await store.poolCreate({ ...pool, minFree, maxVolumes: 10, filesystem: 'ext4' });
}

/** On demand: it has an effect. */
async function volumeCreate(store: Store): Promise<string> {
  const id = newId('batch');
  const operations = [{ type: 'volume.create', params: { name: 'data', pool: 'fast' } }] as const;
  await store.batchAccept([{ id, atomicity: 'per-operation', operations, principal: admin, idempotency: null }]);
  return id;
}

async function ended(store: Store, batch: string): Promise<string> {
  await until(async () => (await store.batchGet(batch))?.state === 'ended', { what: 'the batch has ended' });
  return (await store.batchGet(batch))?.operations.map(({ state }) => state).join() ?? '';
}

test('what a killed worker had begun is taken up by the next one at once, not when its leases end', async (t) => {
  let batch = '';
  const before = async (store: Store) => {
    await store.storageNodeRegister(registration);
    await poolCreate(store);
    batch = await volumeCreate(store);
    const { effectLeaseMs, ...most } = { effectLeaseMs: limits.provisionLeaseMs, maxBatches: 10, maxOperations: 10 };
    const { effects } = await store.groupAdvance({ lease: null, effectLeaseMs, ...most });
    t.is(effects.length, 1);
  };
  const { store } = await open(t, { lease: new FakeLease(), before });
  t.is(await ended(store, batch), 'succeeded');
});

test('volumes that a killed worker was making for a pool are made by the next one at once', async (t) => {
  const before = async (store: Store) => {
    await store.storageNodeRegister(registration);
    await poolCreate(store, 2);
    t.is((await store.refillReserve('fast', 2)).length, 2);
  };
  const { store } = await open(t, { lease: new FakeLease(), before });
  await until(async () => (await store.poolGet('fast'))?.status.free === 2, { what: 'they are there' });
});

test('HAZARD 1: a worker without its lease begins nothing and is not ready; with it, it goes on where it was', async (t) => {
  const lease = new FakeLease();
  const world = await open(t, { lease });
  const { store, node, controlPlane } = world;
  await poolCreate(store);
  const unknown = node.inject({ effect: 'throw', landed: false, kind: 'provision' });
  const begun = await volumeCreate(store);
  controlPlane.wake();
  await until(() => unknown.hits === 1, { what: 'its end is unknown' });
  unknown.end();
  lease.isHeld = false;
  const waiting = newId('batch');
  const operations = [{ type: 'volume.create', params: { name: 'other', pool: 'fast' } }] as const;
  await store.batchAccept([
    { id: waiting, atomicity: 'per-operation', operations, principal: admin, idempotency: null },
  ]);
  controlPlane.wake();
  await controlPlane.maintenance.runNow('operation-recovery');
  t.is((await store.batchGet(waiting))?.state, 'accepted');
  t.deepEqual((await controlPlane.readiness()).unready, [{ part: 'worker', reason: 'Another has it.' }]);
  await lease.takeAnew();
  t.is(await ended(store, begun), 'succeeded');
  t.is(await ended(store, waiting), 'succeeded');
  t.deepEqual((await controlPlane.readiness()).unready, []);
});

test('a worker without its lease adopts no data', async (t) => {
  const lease = new FakeLease();
  const { controlPlane } = await open(t, { lease });
  lease.isHeld = false;
  await t.throwsAsync(controlPlane.adopt('local'), { message: 'Another has it.' });
});

const registration = {
  name: 'local',
  exporter: 'simulator',
  backends: ['file'],
  canFence: false,
  targetPorts: [],
} as const;
