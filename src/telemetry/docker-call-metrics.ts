import type { Counter, Histogram } from 'prom-client';
import type { ErrorKind } from '../domain/errors.ts';
import { type Instruments, seconds } from './instruments.ts';

/** What container engines ask of the volume plugin, counted wherever that runs. */
export class DockerCallMetrics {
  readonly #calls: Counter<'method' | 'outcome'>;
  readonly #durations: Histogram<'method'>;

  constructor(make: Instruments) {
    this.#calls = make.counter('docker_calls_total', 'Calls of container engines.', ['method', 'outcome']);
    this.#durations = make.durations('docker_call_duration_seconds', 'Time to answer a container engine.', ['method']);
  }

  /** The method is one of the protocol's; the outcome `succeeded` or the kind of the problem. */
  ended(method: string, outcome: 'succeeded' | ErrorKind, durationMs: number): void {
    this.#calls.inc({ method, outcome });
    this.#durations.observe({ method }, seconds(durationMs));
  }
}
