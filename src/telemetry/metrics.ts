import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client';
import { limits } from '../config/limits.ts';
import type { ErrorKind } from '../domain/errors.ts';
import type { OperationType } from '../domain/operation.ts';
import type { Clock } from '../system/clock.ts';
import { BoundedLabel } from './bounded-label.ts';
import { DockerCallMetrics } from './docker-call-metrics.ts';
import { EventLoopLag } from './event-loop-lag.ts';
import { type MirrorSources, StoreMirror } from './store-mirror.ts';

export type Phase = 'journal' | 'plan' | 'effects' | 'settle' | 'total';

/** 0.5 ms is under one durable commit of a fast disk, 30 s is the longest wait that a client is given. */
const durationBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const sizeBuckets = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 4_000];
const methods: readonly string[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

/** These of prom-client are gauges whose name ends like a counter's. */
export const misnamedDefaults = [
  'nodejs_active_resources_total',
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
];

export interface MetricsOptions {
  readonly clock: Clock;
  readonly sources: MirrorSources;
}

/**
 * Everything that this process counts, in Prometheus' words: base units, names that say them, and labels from closed
 * sets or bounded ones. Recording is synchronous and never throws; what mirrors the store is read when it is asked for.
 */
export class Metrics {
  /** What `/metrics` serves. */
  readonly registry = new Registry();
  readonly #lag: EventLoopLag;
  readonly #routes = new BoundedLabel(limits.metricsRoutes);
  readonly #reconcilers = new BoundedLabel(limits.metricsReconcilers);

  readonly #operations = this.#counter('operations_total', 'Operations that ended.', ['type', 'outcome']);
  readonly #phases = this.#durations('operation_phase_duration_seconds', 'Time of one commit group by phase.', [
    'phase',
  ]);
  readonly #requests = this.#durations('http_request_duration_seconds', 'Time to answer a request.', [
    'method',
    'route',
    'status_class',
  ]);
  readonly #batchSize = this.#sizes('batch_size_operations', 'Operations of one accepted batch.');
  readonly #groupBatches = this.#sizes('group_size_batches', 'Batches of one commit group.');
  readonly #groupOperations = this.#sizes('group_size_operations', 'Operations of one commit group.');
  readonly #mistakes = this.#counter('planning_mistakes_total', 'Bugs met while operations were planned.', ['outcome']);
  readonly #reconcileRuns = this.#counter('reconcile_runs_total', 'Runs of the reconcilers.', ['name', 'outcome']);
  readonly #reconciles = this.#durations('reconcile_duration_seconds', 'Time of one run of a reconciler.', ['name']);
  readonly #handovers = this.#counter('queue_handover_failures_total', 'Messages that the queue did not take.', [
    'kind',
  ]);

  readonly #dockerCalls = new DockerCallMetrics(this.registry, durationBuckets);

  constructor({ clock, sources }: MetricsOptions) {
    new StoreMirror(this.registry, clock, sources);
    this.#lag = new EventLoopLag(this.registry);
    collectDefaultMetrics({ register: this.registry });
    for (const name of misnamedDefaults) this.registry.removeSingleMetric(name);
  }

  operationsEnded(type: OperationType, outcome: 'succeeded' | 'failed', count = 1): void {
    this.#operations.inc({ type, outcome }, count);
  }

  phaseTook(phase: Phase, durationMs: number): void {
    this.#phases.observe({ phase }, seconds(durationMs));
  }

  batchAccepted(operations: number): void {
    this.#batchSize.observe(operations);
  }

  groupCommitted(group: { readonly batches: number; readonly operations: number }): void {
    this.#groupBatches.observe(group.batches);
    this.#groupOperations.observe(group.operations);
  }

  /** `route` is the pattern (`/v1/volumes/:name`), never the path; null where no route matched. */
  httpAnswered(answer: {
    readonly method: string;
    readonly route: string | null;
    readonly statusCode: number;
    readonly durationMs: number;
  }): void {
    const method = methods.includes(answer.method) ? answer.method : 'other';
    const route = answer.route === null ? 'none' : this.#routes.of(answer.route);
    const status_class = `${Math.floor(answer.statusCode / 100)}xx`;
    this.#requests.observe({ method, route, status_class }, seconds(answer.durationMs));
  }

  planningMistaken(outcome: 'failed' | 'undoing' | 'parked' | 'journalled'): void {
    this.#mistakes.inc({ outcome });
  }

  reconcileRan(reconciler: string, outcome: 'succeeded' | 'failed' | 'skipped', durationMs: number): void {
    const name = this.#reconcilers.of(reconciler);
    this.#reconcileRuns.inc({ name, outcome });
    if (outcome !== 'skipped') this.#reconciles.observe({ name }, seconds(durationMs));
  }

  queueHandoverFailed(kind: 'wake' | 'announcement' | 'nudge' | 'schedule'): void {
    this.#handovers.inc({ kind });
  }

  dockerCallEnded(method: string, outcome: 'succeeded' | ErrorKind, durationMs: number): void {
    this.#dockerCalls.ended(method, outcome, durationMs);
  }

  close(): void {
    this.#lag.close();
    this.registry.clear();
  }

  #counter<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Counter<Label> {
    return new Counter({ name: `fcr_${name}`, help, labelNames, registers: [this.registry] });
  }

  #durations<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Histogram<Label> {
    return new Histogram({
      name: `fcr_${name}`,
      help,
      labelNames,
      buckets: durationBuckets,
      registers: [this.registry],
    });
  }

  #sizes(name: string, help: string): Histogram {
    return new Histogram({ name: `fcr_${name}`, help, buckets: sizeBuckets, registers: [this.registry] });
  }
}

/** Metrics of a process without a store have nothing to mirror. */
export const noSources: MirrorSources = {
  counters: async () => null,
  backlog: async () => null,
  queueDepth: async () => null,
  nodeLease: async () => null,
};

/** A clock that went backwards must not break the caller. */
function seconds(durationMs: number): number {
  return Math.max(0, durationMs) / 1_000;
}
