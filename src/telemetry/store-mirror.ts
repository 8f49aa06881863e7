import { Counter, Gauge, type Registry } from 'prom-client';
import { limits } from '../config/limits.ts';
import type { AttachmentState } from '../domain/attachment.ts';
import type { Pool, PoolStatus } from '../domain/pool.ts';
import type { Clock } from '../system/clock.ts';
import { withDeadline } from '../system/deadline.ts';
import { Remembered } from '../system/remembered.ts';

/** What the store's `counters()` answers. */
export interface MirroredCounters {
  readonly rowChanges: number;
  readonly pools: readonly Pool[];
  readonly wipeBacklog: number;
  readonly attachmentsByState: Readonly<Record<string, number>>;
}

/** What the store's `backlog()` answers. */
export interface MirroredBacklog {
  readonly acceptedBatches: number;
  readonly acceptedOperations: number;
  readonly runningBatches: number;
  readonly parkedBatches: readonly unknown[];
  readonly oldestAcceptedAt: number | null;
}

export interface MirrorSources {
  readonly counters: () => Promise<MirroredCounters | null>;
  readonly backlog: () => Promise<MirroredBacklog | null>;
  readonly queueDepth: () => Promise<number | null>;
  /** Whether the lease of the storage node is held; null: there is none, since no other process can be on the store. */
  readonly nodeLease: () => Promise<boolean | null>;
}

const volumeStates = [
  'provisioning',
  'free',
  'allocated',
  'wiping',
  'failed',
  'retired',
] as const satisfies readonly (keyof PoolStatus)[];
const attachmentStates: readonly AttachmentState[] = ['exporting', 'exported', 'attached', 'detaching', 'quarantined'];

/**
 * The metrics that mirror the store. It is asked once a second at the most, however many scrape; while it does not
 * answer, its metrics are absent (never stale) and `fcr_store_reachable` is 0.
 */
export class StoreMirror {
  readonly #clock: Clock;
  readonly #sources: MirrorSources;
  /** Every metric asks as it is collected. */
  readonly #refresh: Remembered<void>;
  readonly #metrics: ReturnType<typeof mirrorMetrics>;

  constructor(registry: Registry, clock: Clock, sources: MirrorSources) {
    this.#clock = clock;
    this.#sources = sources;
    this.#refresh = new Remembered(() => this.#read(), { clock, lifetimeMs: limits.metricsCacheMs });
    this.#metrics = mirrorMetrics(registry, () => this.#refresh.get());
  }

  async #read(): Promise<void> {
    const { counters, backlog, queueDepth, nodeLease } = this.#sources;
    const [counted, waiting, depth, isHeld] = await Promise.all([
      inTime(counters),
      inTime(backlog),
      inTime(queueDepth),
      inTime(nodeLease),
    ]);
    this.#setPools(counted?.pools ?? []);
    this.#metrics.rowChanges.reset();
    if (counted !== null) this.#metrics.rowChanges.inc(counted.rowChanges);
    this.#setAttachments(counted?.attachmentsByState ?? null);
    setOrRemove(this.#metrics.journalOperations, waiting?.acceptedOperations);
    setOrRemove(this.#metrics.parkedBatches, waiting?.parkedBatches.length);
    setOrRemove(this.#metrics.wipeBacklog, counted?.wipeBacklog);
    setOrRemove(this.#metrics.journalBatches, waiting?.acceptedBatches);
    setOrRemove(this.#metrics.runningBatches, waiting?.runningBatches);
    setOrRemove(this.#metrics.oldestAge, waiting === null ? undefined : this.#ageSeconds(waiting.oldestAcceptedAt));
    setOrRemove(this.#metrics.queueDepth, depth ?? undefined);
    setOrRemove(this.#metrics.nodeLeaseHeld, isHeld === null ? undefined : Number(isHeld));
    this.#metrics.reachable.set(counted === null || waiting === null ? 0 : 1);
  }

  #setPools(pools: readonly Pool[]): void {
    const perPool = [
      this.#metrics.poolVolumes,
      this.#metrics.poolMinFree,
      this.#metrics.poolMost,
      this.#metrics.poolBlocked,
    ];
    for (const metric of [...perPool, this.#metrics.poolHits, this.#metrics.poolMisses]) metric.reset();
    for (const { name: pool, status, minFree, maxVolumes } of pools.slice(0, limits.pools)) {
      for (const state of volumeStates) this.#metrics.poolVolumes.set({ pool, state }, status[state]);
      this.#metrics.poolMinFree.set({ pool }, minFree);
      this.#metrics.poolMost.set({ pool }, maxVolumes);
      this.#metrics.poolBlocked.set({ pool }, status.blockedReason === null ? 0 : 1);
      this.#metrics.poolHits.inc({ pool }, status.hits);
      this.#metrics.poolMisses.inc({ pool }, status.misses);
    }
    this.#metrics.poolsHidden.set(Math.max(0, pools.length - limits.pools));
  }

  #setAttachments(byState: Readonly<Record<string, number>> | null): void {
    this.#metrics.attachments.reset();
    if (byState === null) return;
    for (const state of attachmentStates) this.#metrics.attachments.set({ state }, byState[state] ?? 0);
  }

  #ageSeconds(oldestAcceptedAt: number | null): number {
    return oldestAcceptedAt === null ? 0 : Math.max(0, this.#clock.now() - oldestAcceptedAt) / 1_000;
  }
}

function mirrorMetrics(registry: Registry, collect: () => Promise<void>) {
  const all = { registers: [registry], collect };
  const gauge = (name: string, help: string) => new Gauge({ ...all, name: `fcr_${name}`, help });
  const poolGauge = (name: string, help: string) =>
    new Gauge({ ...all, name: `fcr_${name}`, help, labelNames: ['pool'] });
  const poolCounter = (name: string, help: string) =>
    new Counter({ ...all, name: `fcr_${name}`, help, labelNames: ['pool'] });
  return {
    rowChanges: new Counter({
      ...all,
      name: 'fcr_store_row_changes_total',
      help: 'Rows that the store inserted, updated and deleted.',
    }),
    reachable: gauge('store_reachable', 'Whether the store answers.'),
    poolVolumes: new Gauge({
      ...all,
      name: 'fcr_pool_volumes',
      help: 'Volumes of a pool by state.',
      labelNames: ['pool', 'state'],
    }),
    poolMinFree: poolGauge('pool_min_free_volumes', 'Volumes that a pool keeps free.'),
    poolMost: poolGauge('pool_max_volumes', 'Volumes that a pool may have.'),
    poolBlocked: poolGauge('pool_blocked', 'Whether a pool is not refilled.'),
    poolHits: poolCounter('pool_hits_total', 'Volumes that were served from a pool.'),
    poolMisses: poolCounter('pool_misses_total', 'Volumes that a pool had to make on demand.'),
    poolsHidden: gauge('pools_not_shown', 'Pools over the limit of labels.'),
    attachments: new Gauge({ ...all, name: 'fcr_attachments', help: 'Attachments by state.', labelNames: ['state'] }),
    wipeBacklog: gauge('wipe_backlog_volumes', 'Volumes that wait to be wiped.'),
    journalOperations: gauge('journal_backlog_operations', 'Operations that are accepted and not planned.'),
    journalBatches: gauge('journal_backlog_batches', 'Batches that are accepted and not planned.'),
    runningBatches: gauge('running_batches', 'Batches whose effects are under way.'),
    parkedBatches: gauge('parked_batches', 'Batches that a bug keeps from being carried on, up to 100.'),
    oldestAge: gauge('journal_oldest_age_seconds', 'Age of the oldest batch that is not planned.'),
    nodeLeaseHeld: gauge(
      'worker_lease_held',
      'Whether a worker holds the lease of the storage node; at a worker, whether it does itself.',
    ),
    queueDepth: gauge('queue_waiting_wakeups', 'Wake-ups that wait in the queue.'),
  };
}

function setOrRemove(gauge: Gauge, value: number | undefined): void {
  if (value === undefined) gauge.remove();
  else gauge.set(value);
}

/** A source that fails or is late is one that says nothing. */
async function inTime<T>(source: () => Promise<T | null>): Promise<T | null> {
  try {
    return await withDeadline(source(), limits.metricsSourceTimeoutMs);
  } catch {
    return null;
  }
}
