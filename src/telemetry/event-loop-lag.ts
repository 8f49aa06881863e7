import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Gauge, type Registry } from 'prom-client';

const resolutionMs = 10;
const nanosecondsPerSecond = 1e9;

/** How much later than asked the event loop ran a timer, since the last time that somebody looked. */
export class EventLoopLag {
  readonly #delays = monitorEventLoopDelay({ resolution: resolutionMs });

  constructor(registry: Registry) {
    this.#delays.enable();
    const lag = new Gauge({
      name: 'fcr_event_loop_lag_seconds',
      help: 'Lag of the event loop since the last scrape.',
      labelNames: ['statistic'] as const,
      registers: [registry],
      collect: () => {
        lag.set({ statistic: 'mean' }, this.#seconds(this.#delays.mean));
        lag.set({ statistic: 'p99' }, this.#seconds(this.#delays.percentile(99)));
        lag.set({ statistic: 'max' }, this.#seconds(this.#delays.max));
        this.#delays.reset();
      },
    });
  }

  close(): void {
    this.#delays.disable();
  }

  /** The histogram holds the whole distance of two timers; without any it holds NaN. */
  #seconds(nanoseconds: number): number {
    const lag = nanoseconds / nanosecondsPerSecond - resolutionMs / 1_000;
    return Number.isFinite(lag) ? Math.max(0, lag) : 0;
  }
}
