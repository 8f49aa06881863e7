import type { Logger } from 'pino';
import { limits } from '../config/limits.ts';
import { Failure } from '../domain/errors.ts';
import type { Reconciler } from './reconciler.ts';

export type ReconcileObserver = (
  name: string,
  outcome: 'changed' | 'unchanged' | 'failed' | 'elsewhere',
  milliseconds: number,
) => void;

export interface Scheduled {
  readonly reconciler: Reconciler;
  readonly everyMs: number;
}

export interface MaintenanceOptions {
  /** Asked before each run: false while nothing may be changed, since the data is another's or another process acts. */
  readonly mayAct: () => boolean;
  readonly log: Logger;
  readonly observe: ReconcileObserver;
}

/**
 * Runs the reconcilers: on their timers and on a nudge, each once at a time, in the one process that may act.
 * The timers are this process's own: they do not depend on the queue, whose loss recovery has to survive.
 */
export class Maintenance {
  readonly #runs: ReadonlyMap<string, ReconcilerRun>;

  constructor(reconcilers: readonly Scheduled[], options: MaintenanceOptions) {
    this.#runs = new Map(
      reconcilers.map((scheduled) => [scheduled.reconciler.name, new ReconcilerRun(scheduled, options)]),
    );
  }

  start(): void {
    for (const run of this.#runs.values()) run.nudge();
  }

  /** Runs the named ones (all, when none is named) as soon as they are not running. */
  nudge(...names: readonly string[]): void {
    for (const [name, run] of this.#runs) if (names.length === 0 || names.includes(name)) run.nudge();
  }

  /** As `nudge`, a little later: what is asked for meanwhile goes into the same run, and users' work goes first. */
  nudgeSoon(...names: readonly string[]): void {
    for (const name of names) this.#runs.get(name)?.nudgeSoon();
  }

  /** What any of them had begun, in whatever process, is nobody's: see `Reconciler.recover`. */
  recover(): void {
    for (const run of this.#runs.values()) run.recover();
  }

  /** Runs one now and waits for its end; for tests and `fcr`. */
  async runNow(name: string): Promise<void> {
    await this.#runs.get(name)?.nudge();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#runs.values()].map((run) => run.close()));
  }
}

class ReconcilerRun {
  readonly #reconciler: Reconciler;
  readonly #everyMs: number;
  readonly #options: MaintenanceOptions;
  #running: Promise<void> | null = null;
  #again = false;
  #timer: NodeJS.Timeout | null = null;
  #soon: NodeJS.Timeout | null = null;
  #closed = false;

  constructor({ reconciler, everyMs }: Scheduled, options: MaintenanceOptions) {
    this.#reconciler = reconciler;
    this.#everyMs = everyMs;
    this.#options = options;
  }

  nudge(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#again = true;
    this.#running ??= this.#loop().finally(() => {
      this.#running = null;
      this.#schedule();
    });
    return this.#running;
  }

  recover(): void {
    this.#reconciler.recover?.();
  }

  nudgeSoon(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = null;
      void this.nudge();
    }, limits.reconcileSoonMs);
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#soon !== null) clearTimeout(this.#soon);
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#running;
  }

  #schedule(): void {
    if (this.#closed) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const jitter = 1 + (Math.random() - 0.5) * 0.2;
    this.#timer = setTimeout(() => void this.nudge(), this.#everyMs * jitter);
    this.#timer.unref();
  }

  async #loop(): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false;
      await this.#once();
    }
  }

  async #once(): Promise<void> {
    const { name } = this.#reconciler;
    const { log, observe, mayAct } = this.#options;
    if (!mayAct()) return observe(name, 'elsewhere', 0);
    const began = performance.now();
    try {
      const changed = await this.#reconciler.run();
      observe(name, changed > 0 ? 'changed' : 'unchanged', performance.now() - began);
    } catch (error) {
      observe(name, 'failed', performance.now() - began);
      const known = error instanceof Failure && error.code !== 'internal';
      log[known ? 'warn' : 'error'](
        { err: error, reconciler: name },
        'a reconcile run failed; the next one tries again',
      );
    }
  }
}
