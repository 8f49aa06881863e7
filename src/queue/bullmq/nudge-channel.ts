import type { NudgeListener, QueueObserver } from '../queue.ts';
import { Channel, type ChannelOptions } from './channel.ts';

/** Which reconcilers are to run now. What is lost costs an interval of theirs. */
export class NudgeChannel {
  readonly #observer: QueueObserver;
  readonly #channel: Channel;
  readonly #listeners: NudgeListener[] = [];

  constructor(options: ChannelOptions) {
    this.#observer = options.observer;
    this.#channel = new Channel({ ...options, name: 'nudge', kind: 'nudge' }, (message) => this.#receive(message));
  }

  nudge(names: readonly string[]): Promise<void> {
    return this.#channel.publish(names);
  }

  add(listener: NudgeListener): void {
    this.#listeners.push(listener);
    this.#channel.subscribe();
  }

  close(): void {
    this.#listeners.length = 0;
  }

  #receive(message: string): void {
    try {
      const names: unknown = JSON.parse(message);
      if (!Array.isArray(names)) return;
      const texts = names.filter((name) => typeof name === 'string');
      for (const listener of this.#listeners) listener(texts);
    } catch (error) {
      this.#observer.errored('nudge-listener', error);
    }
  }
}
