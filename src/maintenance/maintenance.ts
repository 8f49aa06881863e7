import type { Logger } from 'pino';
import { limits } from '../config/limits.ts';
import { Failure } from '../domain/errors.ts';
import type { MaintenanceStore } from '../store/store.ts';
import type { Reconciler } from './reconciler.ts';

export type ReconcileObserver = (
  name: string,
  outcome: 'changed' | 'unchanged' | 'failed' | 'elsewhere',
  milliseconds: number,
) => void;

/**
 * Runs the reconcilers: on their timers and on a nudge, each once at a time over all replicas (a lease in the store).
 * The timers are this process's own: they do not depend on the queue, whose loss recovery has to survive.
 */
export class Maintenance {
  readonly #runs: ReadonlyMap<string, ReconcilerRun>;

  constructor(
    reconcilers: readonly Reconciler[],
    options: {
      readonly store: MaintenanceStore;
      readonly owner: string;
      readonly log: Logger;
      readonly observe: ReconcileObserver;
    },
  ) {
    this.#runs = new Map(reconcilers.map((reconciler) => [reconciler.name, new ReconcilerRun(reconciler, options)]));
  }

  start(): void {
    for (const run of this.#runs.values()) run.nudge();
  }

  /** Runs the named ones (all, when none is named) as soon as they are not running. */
  nudge(...names: readonly string[]): void {
    for (const [name, run] of this.#runs) if (names.length === 0 || names.includes(name)) run.nudge();
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
  readonly #options: {
    readonly store: MaintenanceStore;
    readonly owner: string;
    readonly log: Logger;
    readonly observe: ReconcileObserver;
  };
  #running: Promise<void> | null = null;
  #again = false;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(
    reconciler: Reconciler,
    options: {
      readonly store: MaintenanceStore;
      readonly owner: string;
      readonly log: Logger;
      readonly observe: ReconcileObserver;
    },
  ) {
    this.#reconciler = reconciler;
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

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#running;
  }

  #schedule(): void {
    if (this.#closed) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const jitter = 1 + (Math.random() - 0.5) * 0.2;
    this.#timer = setTimeout(() => void this.nudge(), this.#reconciler.everyMs * jitter);
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
    const { store, owner, log, observe } = this.#options;
    const began = performance.now();
    const lease = `reconcile:${name}`;
    try {
      if ((await store.leaseTake(lease, owner, limits.reconcileLeaseMs)) === null) {
        observe(name, 'elsewhere', performance.now() - began);
        return;
      }
      const changed = await this.#reconciler.run();
      observe(name, changed > 0 ? 'changed' : 'unchanged', performance.now() - began);
    } catch (error) {
      observe(name, 'failed', performance.now() - began);
      const known = error instanceof Failure;
      log[known ? 'warn' : 'error'](
        { err: error, reconciler: name },
        'a reconcile run failed; the next one tries again',
      );
    }
  }
}
