import { Counter, Histogram, type Registry } from 'prom-client';
import type { ErrorKind } from '../domain/errors.ts';

/** What container engines ask of the volume plugin, counted wherever that runs. */
export class DockerCallMetrics {
  readonly #calls: Counter<'method' | 'outcome'>;
  readonly #durations: Histogram<'method'>;

  constructor(registry: Registry, buckets: number[]) {
    const registers = [registry];
    this.#calls = new Counter({
      name: 'fcr_docker_calls_total',
      help: 'Calls of container engines.',
      labelNames: ['method', 'outcome'],
      registers,
    });
    this.#durations = new Histogram({
      name: 'fcr_docker_call_duration_seconds',
      help: 'Time to answer a container engine.',
      labelNames: ['method'],
      buckets,
      registers,
    });
  }

  /** The method is one of the protocol's; the outcome `succeeded` or the kind of the problem. */
  ended(method: string, outcome: 'succeeded' | ErrorKind, durationMs: number): void {
    this.#calls.inc({ method, outcome });
    this.#durations.observe({ method }, Math.max(0, durationMs) / 1_000);
  }
}
