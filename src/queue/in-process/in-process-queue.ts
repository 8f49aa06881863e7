import { CoalescedRun } from '../coalesced-run.ts';
import { EndedListeners } from '../ended-listeners.ts';
import type { NudgeListener, Queue, QueueObserver } from '../queue.ts';

export interface InProcessQueueOptions {
  readonly observer: QueueObserver;
}

/**
 * The queue of one process that is everything: function calls. It holds no message, only the fact that a wake-up is
 * due, so its memory does not grow with the work.
 */
export class InProcessQueue implements Queue {
  readonly #observer: QueueObserver;
  readonly #ended: EndedListeners;
  readonly #nudged: NudgeListener[] = [];
  #work: CoalescedRun | null = null;
  #wakeDue = false;
  #closed = false;

  constructor(options: InProcessQueueOptions) {
    this.#observer = options.observer;
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
    await this.#work?.stop();
    await this.#ended.stop();
  }
}
