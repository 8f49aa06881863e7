import { type Histogram, Registry } from 'prom-client';
import { limits } from '../config/limits.ts';
import type { ErrorKind } from '../domain/errors.ts';
import type { OperationType } from '../domain/operation.ts';
import type { Clock } from '../system/clock.ts';
import { BoundedLabel } from './bounded-label.ts';
import { DockerCallMetrics } from './docker-call-metrics.ts';
import { EventLoopLag } from './event-loop-lag.ts';
import { Instruments, seconds, tellProcess } from './instruments.ts';
import { type MirrorSources, StoreMirror } from './store-mirror.ts';

export type Phase = 'journal' | 'plan' | 'effects' | 'settle';

/** 0.5 ms is under one durable commit of a fast disk, 30 s is the longest wait that a client is given. */
const durationBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const sizeBuckets = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 4_000];
const methods: readonly string[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

type MistakeOutcome = 'failed' | 'undoing' | 'parked' | 'journalled';
type Handover = 'wake' | 'announcement' | 'nudge';

/** Rare, and alerted on: Prometheus sees a rise only of a series that it has seen before. */
const mistakeOutcomes: readonly MistakeOutcome[] = ['failed', 'undoing', 'parked', 'journalled'];
const handovers: readonly Handover[] = ['wake', 'announcement', 'nudge'];

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
  readonly #make = new Instruments({ registry: this.registry, prefix: 'fcr', buckets: durationBuckets });
  readonly #lag: EventLoopLag;
  readonly #routes = new BoundedLabel(limits.metricsRoutes);
  readonly #reconcilers = new BoundedLabel(limits.metricsReconcilers);

  readonly #operations = this.#make.counter('operations_total', 'Operations that ended.', ['type', 'outcome']);
  readonly #phases = this.#make.durations('operation_phase_duration_seconds', 'Time of one commit group by phase.', [
    'phase',
  ]);
  readonly #requests = this.#make.durations('http_request_duration_seconds', 'Time to answer a request.', [
    'method',
    'route',
    'status_class',
  ]);
  readonly #batchSize = this.#sizes('batch_size_operations', 'Operations of one accepted batch.');
  readonly #groupBatches = this.#sizes('group_size_batches', 'Batches of one commit group.');
  readonly #groupOperations = this.#sizes('group_size_operations', 'Operations of one commit group.');
  readonly #mistakes = this.#make.counter('planning_mistakes_total', 'Bugs met while operations were planned.', [
    'outcome',
  ]);
  readonly #reconcileRuns = this.#make.counter('reconcile_runs_total', 'Runs of the reconcilers.', ['name', 'outcome']);
  readonly #reconciles = this.#make.durations('reconcile_duration_seconds', 'Time of one run of a reconciler.', [
    'name',
  ]);
  readonly #handovers = this.#make.counter('queue_handover_failures_total', 'Messages that the queue did not take.', [
    'kind',
  ]);

  readonly #dockerCalls = new DockerCallMetrics(this.#make);

  constructor({ clock, sources }: MetricsOptions) {
    new StoreMirror(this.registry, clock, sources);
    this.#lag = new EventLoopLag(this.registry);
    tellProcess(this.registry);
    for (const outcome of mistakeOutcomes) this.#mistakes.inc({ outcome }, 0);
    for (const kind of handovers) this.#handovers.inc({ kind }, 0);
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

  planningMistaken(outcome: MistakeOutcome): void {
    this.#mistakes.inc({ outcome });
  }

  reconcileRan(reconciler: string, outcome: 'succeeded' | 'failed' | 'skipped', durationMs: number): void {
    const name = this.#reconcilers.of(reconciler);
    this.#reconcileRuns.inc({ name, outcome });
    if (outcome !== 'skipped') this.#reconciles.observe({ name }, seconds(durationMs));
  }

  queueHandoverFailed(kind: Handover): void {
    this.#handovers.inc({ kind });
  }

  dockerCallEnded(method: string, outcome: 'succeeded' | ErrorKind, durationMs: number): void {
    this.#dockerCalls.ended(method, outcome, durationMs);
  }

  close(): void {
    this.#lag.close();
    this.registry.clear();
  }

  #sizes(name: string, help: string): Histogram {
    return this.#make.histogram({ name, help, labelNames: [], buckets: sizeBuckets });
  }
}
