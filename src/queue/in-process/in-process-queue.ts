import { CoalescedRun } from '../coalesced-run.ts';
import { EndedListeners } from '../ended-listeners.ts';
import type { NudgeListener, Queue, QueueObserver } from '../queue.ts';

export interface InProcessQueueOptions {
  readonly observer: QueueObserver;
  /** Between 0 and 1, for the jitter. */
  readonly random?: () => number;
}

/** A timer runs between 0.9 and 1.1 of its period after its last run has ended, so that they drift apart. */
const jitterShare = 0.1;

/**
 * The queue of one process that is everything: function calls and timers. It holds no message, only the fact that a
 * wake-up is due, so its memory does not grow with the work.
 */
export class InProcessQueue implements Queue {
  readonly #observer: QueueObserver;
  readonly #random: () => number;
  readonly #ended: EndedListeners;
  readonly #timers = new Map<string, RepeatedRun>();
  readonly #nudged: NudgeListener[] = [];
  #work: CoalescedRun | null = null;
  #wakeDue = false;
  #closed = false;

  constructor(options: InProcessQueueOptions) {
    this.#observer = options.observer;
    this.#random = options.random ?? Math.random;
    this.#ended = new EndedListeners(options.observer);
  }

  async wake(_batchId: string): Promise<void> {
    if (this.#work === null) this.#wakeDue = true;
    else void this.#work.request();
  }

  announceEnded(batchIds: readonly string[]): Promise<void> {
    return this.#ended.announce(batchIds);
  }

  async nudge(reconcilers: readonly string[]): Promise<void> {
    try {
      for (const listener of this.#nudged) listener(reconcilers);
    } catch (error) {
      this.#observer.errored('nudge-listener', error);
    }
  }

  onNudge(listener: NudgeListener): void {
    this.#nudged.push(listener);
  }

  onWake(work: () => Promise<void>): void {
    if (this.#closed) return;
    this.#work = new CoalescedRun(work, (error) => this.#observer.errored('wake', error));
    if (this.#wakeDue) void this.#work.request();
    this.#wakeDue = false;
  }

  onEnded(listener: (batchIds: readonly string[]) => void): void {
    this.#ended.add(listener);
  }

  async schedule(name: string, everyMs: number, run: () => Promise<void>): Promise<void> {
    if (this.#closed) return;
    const previous = this.#timers.get(name);
    const guarded = new CoalescedRun(run, (error) => this.#observer.errored(name, error));
    this.#timers.set(name, new RepeatedRun(guarded, everyMs, this.#random));
    await previous?.stop();
  }

  async depth(): Promise<number> {
    return this.#wakeDue || this.#work?.waiting ? 1 : 0;
  }

  trouble(): string | null {
    return null;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wakeDue = false;
    this.#nudged.length = 0;
    const timers = [...this.#timers.values()];
    await Promise.all([this.#work?.stop(), ...timers.map((timer) => timer.stop())]);
    await this.#ended.stop();
  }
}

/** Runs at once, then again a period after each end: runs of one name never overlap. */
class RepeatedRun {
  readonly #run: CoalescedRun;
  readonly #everyMs: number;
  readonly #random: () => number;
  #timer: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(run: CoalescedRun, everyMs: number, random: () => number) {
    this.#run = run;
    this.#everyMs = everyMs;
    this.#random = random;
    void this.#loop();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#run.stop();
  }

  async #loop(): Promise<void> {
    await this.#run.request();
    if (this.#stopped) return;
    const share = 1 + jitterShare * (2 * this.#random() - 1);
    this.#timer = setTimeout(() => void this.#loop(), this.#everyMs * share);
  }
}
