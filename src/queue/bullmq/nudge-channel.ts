import type { Redis } from 'ioredis';
import type { NudgeListener, QueueObserver } from '../queue.ts';
import type { RedisLink } from './redis-link.ts';

export interface NudgeChannelOptions {
  readonly link: RedisLink;
  readonly prefix: string;
  readonly observer: QueueObserver;
}

/** Which reconcilers are to run now, over Redis publish/subscribe. What is lost costs an interval of theirs. */
export class NudgeChannel {
  readonly #options: NudgeChannelOptions;
  readonly #channel: string;
  readonly #listeners: NudgeListener[] = [];
  #subscriber: Redis | null = null;

  constructor(options: NudgeChannelOptions) {
    this.#options = options;
    this.#channel = `${options.prefix}:nudge`;
  }

  async nudge(names: readonly string[]): Promise<void> {
    const { link, observer } = this.#options;
    const receivers = await link.attempt(() => link.client.publish(this.#channel, JSON.stringify(names)));
    if (receivers === undefined) observer.handoverFailed('nudge');
  }

  add(listener: NudgeListener): void {
    this.#listeners.push(listener);
    this.#subscriber ??= this.#subscribe();
  }

  close(): void {
    this.#listeners.length = 0;
  }

  #subscribe(): Redis {
    const { link, observer } = this.#options;
    const subscriber = link.openPatient();
    subscriber.on('message', (_channel, message) => this.#receive(message));
    subscriber.subscribe(this.#channel).catch((error) => observer.errored('nudge-subscribe', error));
    return subscriber;
  }

  #receive(message: string): void {
    try {
      const names: unknown = JSON.parse(message);
      if (!Array.isArray(names)) return;
      const texts = names.filter((name) => typeof name === 'string');
      for (const listener of this.#listeners) listener(texts);
    } catch (error) {
      this.#options.observer.errored('nudge-listener', error);
    }
  }
}
