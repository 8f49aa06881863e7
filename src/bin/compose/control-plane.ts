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
import { Ownership } from '../../maintenance/ownership.ts';
import { PoolRefill } from '../../maintenance/pool-refill.ts';
import { SpaceWatch } from '../../maintenance/space-watch.ts';
import { VolumeDestroy } from '../../maintenance/volume-destroy.ts';
import { VolumeWipe } from '../../maintenance/volume-wipe.ts';
import { BatchWaiters } from '../../operations/batch-waiters.ts';
import type { Conditions, ControlPlane, PartCondition } from '../../operations/control-plane.ts';
import { JournalIntake } from '../../operations/intake.ts';
import { OperationWorker } from '../../operations/worker.ts';
import type { Queue } from '../../queue/queue.ts';
import type { StorageNode } from '../../storage-node/storage-node.ts';
import type { Backlog, Store } from '../../store/store.ts';
import type { Metrics } from '../../telemetry/metrics.ts';

export interface ControlPlaneParts {
  readonly config: Config;
  readonly store: Store;
  readonly queue: Queue;
  readonly nodes: readonly StorageNode[];
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Unique over restarts and replicas. */
  readonly owner: string;
  /** No other process can be on this store. */
  readonly alone: boolean;
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
  const { config, store, queue, metrics, log, owner, alone } = parts;
  const nodes = new Map(parts.nodes.map((node) => [node.name, node]));
  const ownership = new Ownership(store);
  const foreign = await foreignNodes(ownership, parts.nodes);
  for (const name of foreign) log.error({ storageNode: name }, ownership.foreign.get(name) ?? 'foreign data');
  if (alone && foreign.length === 0) await store.effectsRecover({ all: true });

  const waiters = batchWaiters(store, log);
  const worker = new OperationWorker({
    store,
    nodes,
    name: owner,
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
    reconcilers(parts, nodes, ownership, () => void worker.run()),
    {
      store,
      owner,
      alone,
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
    worker: () => (alone && mayAct() ? worker : null),
    onCommit: (_, milliseconds) => metrics.phaseTook('journal', milliseconds),
  });

  function mayAct(): boolean {
    return ownership.foreign.size === 0;
  }

  function work(): Promise<void> {
    return mayAct() ? worker.run() : Promise.resolve();
  }

  function ended(batches: readonly Batch[]): void {
    waiters.ended(batches);
    void queue.announceEnded(batches.map(({ id }) => id));
    const returned = countOutcomes(metrics, batches);
    if (returned) maintenance.nudgeSoon('volume-wipe', 'volume-destroy');
  }

  queue.onEnded((ids) => waiters.announced(ids));
  queue.onWake(work);
  const timer = setInterval(() => void work(), limits.workerLookMs);
  maintenance.start();
  void work();

  return {
    store,
    intake,
    maintenance,
    nudge: (...names) => maintenance.nudge(...names),
    wake: () => void work(),
    readiness: () => readiness(parts, ownership.foreign),
    adopt: async (name) => {
      const node = nodes.get(name);
      if (node === undefined)
        throw new Failure('storage-node-not-found', `Storage node "${name}" is not connected to this controller.`);
      await ownership.adopt(node);
      if (alone && mayAct()) await store.effectsRecover({ all: true });
      maintenance.nudge();
      void work();
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
export function openApiPlane(parts: Omit<ControlPlaneParts, 'nodes' | 'alone'>): OpenControlPlane {
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
  return {
    store,
    intake,
    // A nudge saves a reconciler's interval, and is not worth a message of its own.
    nudge: () => undefined,
    wake: () => void queue.wake(newId('wake')),
    readiness: () => readiness(parts, new Map()),
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

async function foreignNodes(ownership: Ownership, nodes: readonly StorageNode[]): Promise<string[]> {
  const ours = await Promise.all(nodes.map((node) => ownership.isOurs(node)));
  return nodes.flatMap(({ name }, index) => (ours[index] === true ? [] : [name]));
}

function reconcilers(
  { config, store, alone, log }: ControlPlaneParts,
  nodes: ReadonlyMap<string, StorageNode>,
  ownership: Ownership,
  wake: () => void,
): Scheduled[] {
  const { reconcile } = config;
  const shared = { store, nodes, alone };
  return [
    { reconciler: operationRecovery(store, wake), everyMs: reconcile.recoveryMs },
    {
      reconciler: new SpaceWatch({ store, nodes, reservePercent: config.storageNode.reservePercent }),
      everyMs: reconcile.poolsMs,
    },
    { reconciler: new PoolRefill(shared), everyMs: reconcile.poolsMs },
    { reconciler: new VolumeWipe(shared), everyMs: reconcile.wipeMs },
    { reconciler: new VolumeDestroy(shared), everyMs: reconcile.wipeMs },
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

async function readiness(
  { store, queue }: Pick<ControlPlaneParts, 'store' | 'queue'>,
  foreign: ReadonlyMap<string, string>,
): Promise<Conditions> {
  const unready: PartCondition[] = [...foreign].map(([node, reason]) => ({ part: `storage-node ${node}`, reason }));
  const trouble = queue.trouble();
  const degraded: PartCondition[] = trouble === null ? [] : [{ part: 'queue', reason: trouble }];
  try {
    const [{ pools }, { parkedBatches }] = await Promise.all([store.counters(), store.backlog()]);
    degraded.push(...blockedPools(pools), ...parkedOperations(parkedBatches));
  } catch (error) {
    unready.push({ part: 'store', reason: error instanceof Error ? error.message : String(error) });
  }
  return { unready, degraded };
}

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
