import type { Logger } from 'pino';
import type { Config } from '../../config/config.ts';
import { limits } from '../../config/limits.ts';
import { Failure } from '../../domain/errors.ts';
import { newId } from '../../domain/ids.ts';
import type { Batch } from '../../domain/operation.ts';
import type { Pool } from '../../domain/pool.ts';
import { ExportReconcile } from '../../maintenance/export-reconcile.ts';
import { hostLiveness, operationRecovery, retention } from '../../maintenance/housekeeping.ts';
import { Maintenance, type Scheduled } from '../../maintenance/maintenance.ts';
import type { Ownership } from '../../maintenance/ownership.ts';
import { PoolRefill } from '../../maintenance/pool-refill.ts';
import { SpaceWatch } from '../../maintenance/space-watch.ts';
import { volumeDestroy } from '../../maintenance/volume-destroy.ts';
import { volumeWipe } from '../../maintenance/volume-wipe.ts';
import { BatchWaiters } from '../../operations/batch-waiters.ts';
import type { Conditions, ControlPlane, PartCondition } from '../../operations/control-plane.ts';
import { JournalIntake } from '../../operations/intake.ts';
import { OperationWorker } from '../../operations/worker.ts';
import type { Queue } from '../../queue/queue.ts';
import type { StorageNode } from '../../storage-node/storage-node.ts';
import type { Backlog, Store, StoreCounters } from '../../store/store.ts';
import { systemClock } from '../../system/clock.ts';
import { withDeadline } from '../../system/deadline.ts';
import { Remembered } from '../../system/remembered.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import { Mandate, type WorkerLease } from './mandate.ts';
import { nodeLeaseName } from './node-lease.ts';

export interface ControlPlaneParts {
  readonly config: Config;
  readonly store: Store;
  readonly queue: Queue;
  readonly nodes: readonly StorageNode[];
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Null: no other process can be on this store. */
  readonly lease: WorkerLease | null;
}

/** A control plane that ends with its process. */
export interface OpenControlPlane extends ControlPlane {
  close(): Promise<void>;
}

export interface RunningControlPlane extends OpenControlPlane {
  readonly maintenance: Maintenance;
}

/** Puts intake, worker and reconcilers together over the ports, and starts them. */
export async function startControlPlane(parts: ControlPlaneParts): Promise<RunningControlPlane> {
  const { config, store, queue, metrics, log, lease } = parts;
  const nodes = new Map(parts.nodes.map((node) => [node.name, node]));
  const mandate = new Mandate(parts);
  const mayAct = () => mandate.mayAct();

  const waiters = batchWaiters(store, log);
  const look = remembered(() => lookAtStore(store));
  const worker = new OperationWorker({
    store,
    nodes,
    mayAct,
    lease: () => lease?.term ?? null,
    isOurs: (node) => mandate.isOurs(node),
    log,
    groupBatchesMax: config.groupBatches,
    onEnded: (batches) => ended(batches),
    onPoolsBelowMinimum: () => maintenance.nudgeSoon('pool-refill'),
    observe: {
      phase: (phase, milliseconds) => metrics.phaseTook(phase, milliseconds),
      group: (batches, operations) => metrics.groupCommitted({ batches, operations }),
      mistake: (outcome) => metrics.planningMistaken(outcome),
    },
  });
  const maintenance = new Maintenance(
    reconcilers(parts, nodes, mandate.ownership, () => void worker.run()),
    {
      mayAct,
      log,
      observe: (name, outcome, milliseconds) => metrics.reconcileRan(name, outcomeWord[outcome], milliseconds),
    },
  );
  const intake = new JournalIntake({
    store,
    queue,
    waiters,
    groupBatchesMax: config.groupBatches,
    worker: () => (lease === null && mayAct() ? worker : null),
    onCommit: (_, milliseconds) => metrics.phaseTook('journal', milliseconds),
  });

  function resume(): void {
    maintenance.nudge();
    void worker.run();
  }

  function ended(batches: readonly Batch[]): void {
    waiters.ended(batches);
    void queue.announceEnded(batches.map(({ id }) => id));
    const returned = countOutcomes(metrics, batches);
    if (returned) maintenance.nudgeSoon('volume-wipe', 'volume-destroy');
  }

  queue.onEnded((ids) => waiters.announced(ids));
  await mandate.recover(maintenance);
  lease?.leads({ recover: () => mandate.recover(maintenance), resume });
  queue.onNudge((names) => maintenance.nudge(...names));
  queue.onWake(() => worker.run());
  const timer = setInterval(() => void worker.run(), limits.workerLookMs);
  maintenance.start();
  void worker.run();

  return {
    store,
    intake,
    maintenance,
    nudge: (...names) => maintenance.nudge(...names),
    wake: () => void worker.run(),
    readiness: () => readiness(queue, look, mandate.unready),
    adopt: async (name) => {
      await mandate.adopt(name, maintenance);
      resume();
    },
    close: async () => {
      clearInterval(timer);
      await maintenance.close();
      await worker.close();
      waiters.close();
    },
  };
}

function batchWaiters(store: Store, log: Logger): BatchWaiters {
  return new BatchWaiters(store, (err) =>
    log.error({ err }, 'the store could not be asked which operations have ended'),
  );
}

/**
 * The half that takes requests in, for replicas whose worker is another process: it has no storage node, and reconciles
 * nothing. What it accepts is durable, and the worker is woken by the queue.
 */
export function openApiPlane(parts: Omit<ControlPlaneParts, 'nodes' | 'lease'>): OpenControlPlane {
  const { config, store, queue, metrics, log } = parts;
  const waiters = batchWaiters(store, log);
  const intake = new JournalIntake({
    store,
    queue,
    waiters,
    groupBatchesMax: config.groupBatches,
    onCommit: (_, milliseconds) => metrics.phaseTook('journal', milliseconds),
  });
  queue.onEnded((ids) => waiters.announced(ids));
  const look = remembered(() => lookAtStore(store));
  const isWorkerThere = remembered(() => store.leaseHeld(nodeLeaseName));
  return {
    store,
    intake,
    nudge: (...names) => void queue.nudge(names),
    wake: () => void queue.wake(newId('wake')),
    readiness: async () => withWorker(await readiness(queue, look, []), isWorkerThere),
    adopt: async (name) => {
      throw new Failure(
        'storage-node-not-found',
        `Storage node "${name}" is not connected to this replica; ask its worker: fcr adopt --yes, on that machine.`,
      );
    },
    close: async () => waiters.close(),
  };
}

const outcomeWord = { changed: 'succeeded', unchanged: 'succeeded', failed: 'failed', elsewhere: 'skipped' } as const;

function reconcilers(
  { config, store, log }: ControlPlaneParts,
  nodes: ReadonlyMap<string, StorageNode>,
  ownership: Ownership,
  wake: () => void,
): Scheduled[] {
  const { reconcile } = config;
  return [
    { reconciler: operationRecovery(store, wake), everyMs: reconcile.recoveryMs },
    { reconciler: new SpaceWatch({ store, nodes }), everyMs: reconcile.poolsMs },
    { reconciler: new PoolRefill({ store, nodes }), everyMs: reconcile.poolsMs },
    { reconciler: volumeWipe(store, nodes), everyMs: reconcile.wipeMs },
    { reconciler: volumeDestroy(store, nodes), everyMs: reconcile.wipeMs },
    { reconciler: new ExportReconcile({ store, nodes, ownership, log }), everyMs: reconcile.exportsMs },
    { reconciler: hostLiveness(store, config.host.silenceMs), everyMs: reconcile.hostsMs },
    { reconciler: retention(store, config.retention), everyMs: reconcile.retentionMs },
  ];
}

/** Answers whether a volume was returned, so that its wipe need not wait for the timer. */
function countOutcomes(metrics: Metrics, batches: readonly Batch[]): boolean {
  let returned = false;
  for (const { operations } of batches) {
    metrics.batchAccepted(operations.length);
    for (const { type, state } of operations) {
      if (state !== 'succeeded' && state !== 'failed') continue;
      metrics.operationsEnded(type, state);
      returned ||= type === 'volume.delete' && state === 'succeeded';
    }
  }
  return returned;
}

/** Requests are taken in all the same, and replicas stay in a balancer's rotation: their workers may be on their way. */
async function withWorker({ unready, degraded }: Conditions, lease: Remembered<boolean>): Promise<Conditions> {
  const isThere = await withDeadline(lease.get(), limits.readinessMs).catch(() => null);
  return { unready, degraded: isThere === false ? [...degraded, noWorker] : degraded };
}

const noWorker: PartCondition = {
  part: 'worker',
  reason: 'No worker holds the storage-node lease: what is asked for is accepted, and carried out once one does.',
};

/** Probes may come from anybody, and as many as they like: the store is asked for one of them. */
function remembered<T>(look: () => Promise<T>): Remembered<T> {
  return new Remembered(look, { clock: systemClock, lifetimeMs: limits.readinessCacheMs });
}

async function lookAtStore(store: Store): Promise<StoreLook> {
  const [{ pools, hasSpace }, { parkedBatches }] = await Promise.all([store.counters(), store.backlog()]);
  return { pools, hasSpace, parkedBatches };
}

type StoreLook = Pick<Backlog, 'parkedBatches'> & Pick<StoreCounters, 'pools' | 'hasSpace'>;

async function readiness(
  queue: Queue,
  look: Remembered<StoreLook>,
  notActing: readonly PartCondition[],
): Promise<Conditions> {
  const unready = [...notActing];
  const trouble = queue.trouble();
  const degraded: PartCondition[] = trouble === null ? [] : [{ part: 'queue', reason: trouble }];
  try {
    const { pools, hasSpace, parkedBatches } = await withDeadline(look.get(), limits.readinessMs);
    if (!hasSpace) unready.push(storeFull);
    degraded.push(...blockedPools(pools), ...parkedOperations(parkedBatches));
  } catch (error) {
    unready.push({ part: 'store', reason: error instanceof Error ? error.message : String(error) });
  }
  return { unready, degraded };
}

const storeFull: PartCondition = {
  part: 'store',
  reason: 'The disk of the store is full: nothing can be changed until there is space again.',
};

/** Attaches, detaches and deletes are carried out all the same. */
function blockedPools(pools: readonly Pool[]): PartCondition[] {
  return pools.flatMap(({ name, status: { blockedReason } }) =>
    blockedReason === null ? [] : [{ part: `pool ${name}`, reason: blockedReason }],
  );
}

function parkedOperations(parked: Backlog['parkedBatches']): PartCondition[] {
  const [first] = parked;
  if (first === undefined) return [];
  const count = parked.length === limits.parkedBatchesTold ? `${parked.length} or more` : parked.length;
  return [
    {
      part: 'operations',
      reason: `A bug keeps ${count} of the batches from being carried on; ${first.id}: ${first.reason}.`,
    },
  ];
}
