import { setImmediate as tick } from 'node:timers/promises';
import { CoalescedRun } from './coalesced-run.ts';
import type { QueueObserver } from './queue.ts';

export type EndedListener = (batchIds: readonly string[]) => void;

/** Tells the listeners of this process, once a tick of the event loop, however many batches end in it. */
export class EndedListeners {
  readonly #observer: QueueObserver;
  readonly #listeners: EndedListener[] = [];
  readonly #delivery: CoalescedRun;
  #ended = new Set<string>();

  constructor(observer: QueueObserver) {
    this.#observer = observer;
    this.#delivery = new CoalescedRun(
      () => this.#deliver(),
      (error) => observer.errored('ended-delivery', error),
    );
  }

  add(listener: EndedListener): void {
    this.#listeners.push(listener);
  }

  announce(batchIds: readonly string[]): Promise<void> {
    for (const id of batchIds) this.#ended.add(id);
    return this.#ended.size === 0 ? Promise.resolve() : this.#delivery.request();
  }

  async stop(): Promise<void> {
    await this.#delivery.stop();
    this.#listeners.length = 0;
  }

  async #deliver(): Promise<void> {
    await tick();
    const ended = [...this.#ended];
    this.#ended = new Set();
    if (ended.length === 0) return;
    for (const listener of this.#listeners) {
      try {
        listener(ended);
      } catch (error) {
        this.#observer.errored('ended-listener', error);
      }
    }
  }
}
