/**
 * Who works on which volume: one at a time per volume, a bounded number of volumes at once, bounded waiting.
 *
 * A watch collects every volume that somebody worked on since it began, so that the reconciler leaves alone what
 * changed while it was reading: acting on what it read before would undo a mount that was made meanwhile.
 */
import { limits } from '../config/limits.ts';
import { assert, Failure } from '../domain/errors.ts';

export interface GateOptions {
  readonly parallel?: number;
  readonly waiting?: number;
  readonly waitMs?: number;
}

interface Waiter {
  readonly volumeId: string;
  readonly admit: () => void;
}

export class VolumeGate {
  readonly #parallel: number;
  readonly #waitingMax: number;
  readonly #waitMs: number;
  readonly #held = new Set<string>();
  /** In order of arrival; whoever is first and not blocked by a holder of the same volume goes next. */
  readonly #waiting = new Set<Waiter>();
  readonly #watches = new Set<Set<string>>();

  constructor(options: GateOptions = {}) {
    this.#parallel = options.parallel ?? limits.agentParallelVolumes;
    this.#waitingMax = options.waiting ?? limits.agentWaitingCalls;
    this.#waitMs = options.waitMs ?? limits.agentVolumeWaitMs;
  }

  /** Runs the action alone on the volume. `too-many-requests` when too many wait, `volume-not-ready` after waiting too long. */
  async run<T>(volumeId: string, action: () => Promise<T>): Promise<T> {
    await this.#enter(volumeId);
    try {
      return await action();
    } finally {
      this.#leave(volumeId);
    }
  }

  /** Runs the action unless somebody has worked on the volume since the watch began. Answers whether it ran. */
  async runUntouched(watch: Watch, volumeId: string, action: () => Promise<void>): Promise<boolean> {
    if (watch.touched.has(volumeId) || this.#held.has(volumeId)) return false;
    this.#hold(volumeId);
    try {
      await action();
      return true;
    } finally {
      this.#leave(volumeId);
    }
  }

  /** Begins with what is held now, waiting included. */
  watch(): Watch {
    const touched = new Set(this.#held);
    for (const waiter of this.#waiting) touched.add(waiter.volumeId);
    this.#watches.add(touched);
    return { touched, end: () => this.#watches.delete(touched) };
  }

  async #enter(volumeId: string): Promise<void> {
    if (this.#isFree(volumeId)) {
      this.#hold(volumeId);
      return;
    }
    if (this.#waiting.size >= this.#waitingMax) {
      throw new Failure(
        'too-many-requests',
        `${this.#waiting.size} calls are waiting for volumes of this host already.`,
      );
    }
    await this.#wait(volumeId);
  }

  #wait(volumeId: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        volumeId,
        admit: () => {
          clearTimeout(timer);
          resolve();
        },
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(waiter);
        reject(new Failure('volume-not-ready', `${this.#obstacle(volumeId)} took longer than ${this.#waitMs} ms.`));
      }, this.#waitMs);
      this.#waiting.add(waiter);
      this.#touch(volumeId);
    });
  }

  #obstacle(volumeId: string): string {
    if (this.#held.has(volumeId)) return `Other work on ${volumeId}`;
    return `Work on other volumes of this host (${this.#held.size} at once), before that on ${volumeId},`;
  }

  #isFree(volumeId: string): boolean {
    return !this.#held.has(volumeId) && this.#held.size < this.#parallel;
  }

  #hold(volumeId: string): void {
    this.#held.add(volumeId);
    this.#touch(volumeId);
  }

  #leave(volumeId: string): void {
    assert(this.#held.delete(volumeId), 'volume-gate-leave');
    for (const waiter of this.#waiting) {
      if (!this.#isFree(waiter.volumeId)) continue;
      this.#waiting.delete(waiter);
      this.#hold(waiter.volumeId);
      waiter.admit();
    }
  }

  #touch(volumeId: string): void {
    for (const touched of this.#watches) touched.add(volumeId);
  }
}

export interface Watch {
  readonly touched: ReadonlySet<string>;
  end(): void;
}
