import { Counter, collectDefaultMetrics, Histogram, type Registry } from 'prom-client';

/** These of prom-client are gauges whose name ends like a counter's. */
const misnamedDefaults = [
  'nodejs_active_resources_total',
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
];

/** Makes what is counted and timed in one registry, all under one prefix. */
export class Instruments {
  readonly #registry: Registry;
  readonly #prefix: string;
  readonly #buckets: readonly number[];

  /** `buckets`: of durations, in seconds. */
  constructor(options: { readonly registry: Registry; readonly prefix: string; readonly buckets: readonly number[] }) {
    this.#registry = options.registry;
    this.#prefix = options.prefix;
    this.#buckets = options.buckets;
  }

  counter<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Counter<Label> {
    return new Counter({ name: `${this.#prefix}_${name}`, help, labelNames, registers: [this.#registry] });
  }

  durations<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Histogram<Label> {
    return this.histogram({ name, help, labelNames, buckets: this.#buckets });
  }

  histogram<Label extends string>(options: {
    readonly name: string;
    readonly help: string;
    readonly labelNames: readonly Label[];
    readonly buckets: readonly number[];
  }): Histogram<Label> {
    const name = `${this.#prefix}_${options.name}`;
    return new Histogram({ ...options, name, buckets: [...options.buckets], registers: [this.#registry] });
  }
}

/** What the process itself needs, in the names that everybody knows. */
export function tellProcess(registry: Registry): void {
  collectDefaultMetrics({ register: registry });
  for (const name of misnamedDefaults) registry.removeSingleMetric(name);
}

/** A clock that went backwards must not break the caller. */
export function seconds(durationMs: number): number {
  return Math.max(0, durationMs) / 1_000;
}
