import test, { type ExecutionContext } from 'ava';
import { limits } from '../../src/config/limits.ts';
import { operationTypes } from '../../src/domain/operation.ts';
import type { Pool } from '../../src/domain/pool.ts';
import type { Backlog, StoreCounters } from '../../src/store/store.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import type { MirrorSources } from '../../src/telemetry/store-mirror.ts';
import { noSources } from '../support/no-sources.ts';

/** A clock that stands until it is moved, and a store that counts how often it is asked and can fail. */
class World {
  nowMs = 1_000_000;
  asked = 0;
  failing = false;
  leaseHeld: boolean | null = null;
  pools: Pool[] = [pool('fast')];
  readonly clock = { now: () => this.nowMs, monotonic: () => this.nowMs };
  readonly sources: MirrorSources = {
    counters: async (): Promise<StoreCounters> => {
      this.asked += 1;
      if (this.failing) throw new Error('the store does not answer');
      return {
        pools: this.pools,
        operationsWaiting: 3,
        wipeBacklog: 4,
        hasSpace: true,
        rowChanges: 6,
        attachmentsByState: { exported: 5 },
      };
    },
    backlog: async (): Promise<Backlog> => {
      if (this.failing) throw new Error('the store does not answer');
      return {
        acceptedBatches: 2,
        acceptedOperations: 3,
        runningBatches: 1,
        parkedBatches: [],
        oldestAcceptedAt: this.nowMs - 7_000,
      };
    },
    queueDepth: async () => 1,
    nodeLease: async (): Promise<boolean | null> => this.leaseHeld,
  };

  open(t: ExecutionContext, sources = this.sources): Metrics {
    const metrics = new Metrics({ clock: this.clock, sources });
    t.teardown(() => metrics.close());
    return metrics;
  }
}

function pool(name: string): Pool {
  const status = { provisioning: 1, free: 2, allocated: 3, wiping: 4, failed: 5, retired: 6 };
  return {
    id: name,
    name,
    backend: 'file',
    storageNode: 'local',
    volumeSizeBytes: 1,
    minFree: 10,
    maxVolumes: 100,
    filesystem: 'ext4',
    state: 'active',
    version: 1,
    createdAt: 0,
    status: { ...status, hits: 7, misses: 8, blockedReason: null },
  };
}

/** Every method once, so that every series is there. */
function recordAll(metrics: Metrics): void {
  for (const type of operationTypes) metrics.operationsEnded(type, 'succeeded', 2);
  for (const phase of ['journal', 'plan', 'effects', 'settle'] as const) metrics.phaseTook(phase, 2);
  metrics.batchAccepted(100);
  metrics.groupCommitted({ batches: 4, operations: 400 });
  metrics.httpAnswered({ method: 'POST', route: '/v1/volumes', statusCode: 201, durationMs: 3 });
  metrics.reconcileRan('pool-refill', 'failed', 1_500);
  metrics.queueHandoverFailed('wake');
  metrics.planningMistaken('failed');
}

interface Family {
  readonly name: string;
  readonly type: string;
  readonly help: string;
}

function families(text: string): readonly Family[] {
  return [...text.matchAll(/^# HELP (\S+) (.+)\n# TYPE \S+ (\w+)$/gm)].map(([, name = '', help = '', type = '']) => ({
    name,
    help,
    type,
  }));
}

/** The rules of `promtool check metrics` that names can break. */
function lint({ name, type, help }: Family): readonly string[] {
  const wrong: string[] = [];
  if (help.trim() === '') wrong.push('no help');
  if (!/^[a-z][a-z0-9_]*$/.test(name)) wrong.push('not snake case');
  if ((type === 'counter') !== name.endsWith('_total')) wrong.push('counters, and only they, end in _total');
  if (/_(?:milliseconds|ms|minutes|hours|kilobytes|megabytes|kb|mb|mib|percent)(?:_|$)/.test(name)) {
    wrong.push('not a base unit');
  }
  if (/_(?:count|sum|bucket|gauge|counter|histogram)$/.test(name)) wrong.push('a reserved or redundant suffix');
  return wrong.map((rule) => `${name}: ${rule}`);
}

test('every name is in the words and base units of Prometheus', async (t) => {
  const metrics = new World().open(t);
  recordAll(metrics);
  const found = families(await metrics.registry.metrics());
  t.deepEqual(found.flatMap(lint), []);
  t.true(found.length > 30);
  const times = found.filter(({ name }) => /duration|age|lag(?:_|$)/.test(name));
  t.deepEqual(
    times.filter(({ name }) => !/_seconds$/.test(name)),
    [],
  );
});

test('the linter catches names that break the rules', (t) => {
  const planted = [
    { name: 'fcr_requests', type: 'counter', help: 'x' },
    { name: 'fcr_volumes_total', type: 'gauge', help: 'x' },
    { name: 'fcr_wait_ms', type: 'histogram', help: 'x' },
    { name: 'fcr_things_count', type: 'gauge', help: 'x' },
    { name: 'fcrThings', type: 'gauge', help: 'x' },
    { name: 'fcr_things', type: 'gauge', help: ' ' },
  ];
  t.deepEqual(
    planted.map((family) => lint(family).length),
    [1, 1, 1, 1, 1, 1],
  );
});

test('our own metrics carry the prefix; those of the process keep the names that everybody knows', async (t) => {
  const metrics = new World().open(t);
  const names = families(await metrics.registry.metrics()).map(({ name }) => name);
  t.deepEqual(
    names.filter((name) => !/^(?:fcr|process|nodejs)_/.test(name)),
    [],
  );
  t.true(names.includes('process_resident_memory_bytes'));
  t.true(names.includes('fcr_event_loop_lag_seconds'));
});

test('what is recorded is shown, in seconds', async (t) => {
  const metrics = new World().open(t);
  recordAll(metrics);
  const text = await metrics.registry.metrics();
  for (const line of [
    'fcr_operations_total{type="volume.create",outcome="succeeded"} 2',
    'fcr_operation_phase_duration_seconds_sum{phase="plan"} 0.002',
    'fcr_batch_size_operations_sum 100',
    'fcr_group_size_batches_sum 4',
    'fcr_group_size_operations_sum 400',
    'fcr_http_request_duration_seconds_sum{method="POST",route="/v1/volumes",status_class="2xx"} 0.003',
    'fcr_reconcile_runs_total{name="pool-refill",outcome="failed"} 1',
    'fcr_reconcile_duration_seconds_sum{name="pool-refill"} 1.5',
    'fcr_queue_handover_failures_total{kind="wake"} 1',
  ]) {
    t.true(text.split('\n').includes(line), line);
  }
});

test('the store is mirrored', async (t) => {
  const text = await new World().open(t).registry.metrics();
  for (const line of [
    'fcr_store_reachable 1',
    'fcr_pool_volumes{pool="fast",state="free"} 2',
    'fcr_pool_volumes{pool="fast",state="wiping"} 4',
    'fcr_pool_min_free_volumes{pool="fast"} 10',
    'fcr_pool_max_volumes{pool="fast"} 100',
    'fcr_pool_blocked{pool="fast"} 0',
    'fcr_pool_hits_total{pool="fast"} 7',
    'fcr_pool_misses_total{pool="fast"} 8',
    'fcr_attachments{state="exported"} 5',
    'fcr_attachments{state="attached"} 0',
    'fcr_wipe_backlog_volumes 4',
    'fcr_store_row_changes_total 6',
    'fcr_journal_backlog_operations 3',
    'fcr_journal_backlog_batches 2',
    'fcr_journal_oldest_age_seconds 7',
    'fcr_queue_waiting_wakeups 1',
  ]) {
    t.true(text.split('\n').includes(line), line);
  }
});

test('the store is asked once a second at the most, however many scrape', async (t) => {
  const world = new World();
  const metrics = world.open(t);
  await Promise.all([metrics.registry.metrics(), metrics.registry.metrics()]);
  await metrics.registry.metrics();
  t.is(world.asked, 1);
  world.nowMs += limits.metricsCacheMs;
  await metrics.registry.metrics();
  t.is(world.asked, 2);
});

test('a store that does not answer is told, and leaves no stale figures', async (t) => {
  const world = new World();
  const metrics = world.open(t);
  await metrics.registry.metrics();
  world.failing = true;
  world.nowMs += limits.metricsCacheMs;
  const text = await metrics.registry.metrics();
  t.regex(text, /^fcr_store_reachable 0$/m);
  t.notRegex(text, /^fcr_(?:pool_volumes|attachments|journal_backlog_operations|wipe_backlog_volumes)[ {]/m);
  t.regex(text, /^fcr_queue_waiting_wakeups 1$/m);
});

test('whether the lease of the storage node is held is shown where there is one', async (t) => {
  const world = new World();
  const metrics = world.open(t);
  t.notRegex(await metrics.registry.metrics(), /^fcr_worker_lease_held /m);
  for (const [held, shown] of [
    [true, 1],
    [false, 0],
  ] as const) {
    world.leaseHeld = held;
    world.nowMs += limits.metricsCacheMs;
    t.regex(await metrics.registry.metrics(), new RegExp(`^fcr_worker_lease_held ${shown}$`, 'm'));
  }
});

test('a pool that is gone takes its series with it', async (t) => {
  const world = new World();
  const metrics = world.open(t);
  await metrics.registry.metrics();
  world.pools = [pool('other')];
  world.nowMs += limits.metricsCacheMs;
  const text = await metrics.registry.metrics();
  t.notRegex(text, /pool="fast"/);
  t.regex(text, /^fcr_pool_hits_total\{pool="other"\} 7$/m);
});

test('no label grows without bound', async (t) => {
  const world = new World();
  world.pools = Array.from({ length: limits.pools + 20 }, (_, index) => pool(`pool-${index}`));
  const metrics = world.open(t);
  for (let index = 0; index < 2 * limits.metricsRoutes; index += 1) {
    metrics.httpAnswered({ method: `M${index}`, route: `/r/${index}`, statusCode: 200, durationMs: 1 });
    metrics.reconcileRan(`reconciler-${index}`, 'succeeded', 1);
  }
  metrics.httpAnswered({ method: 'GET', route: null, statusCode: 404, durationMs: -1 });
  const text = await metrics.registry.metrics();
  const values = (label: string) =>
    new Set([...text.matchAll(new RegExp(`${label}="([^"]*)"`, 'g'))].map(([, v]) => v));
  t.is(values('pool').size, limits.pools);
  t.regex(text, /^fcr_pools_not_shown 20$/m);
  t.is(values('route').size, limits.metricsRoutes + 2);
  t.is(values('[{,]name').size, limits.metricsReconcilers + 1);
  t.deepEqual([...values('method')], ['other', 'GET']);
});

test('a process without a store has metrics all the same', async (t) => {
  const text = await new World().open(t, noSources).registry.metrics();
  t.regex(text, /^fcr_store_reachable 0$/m);
  t.regex(text, /^process_cpu_seconds_total /m);
});
