import type { Redis } from 'ioredis';
import type { QueueMessage, QueueObserver } from '../queue.ts';
import type { RedisLink } from './redis-link.ts';

export interface ChannelOptions {
  readonly link: RedisLink;
  readonly prefix: string;
  readonly observer: QueueObserver;
}

/** What one channel is called in Redis and in the log, and what its messages count as. */
export interface ChannelName {
  readonly name: string;
  readonly kind: QueueMessage;
}

/** Messages over Redis publish/subscribe, which keeps none: what cannot be sent or received is counted, and lost. */
export class Channel {
  readonly #options: ChannelOptions & ChannelName;
  readonly #receive: (message: string) => void;
  readonly #channel: string;
  #subscriber: Redis | null = null;

  constructor(options: ChannelOptions & ChannelName, receive: (message: string) => void) {
    this.#options = options;
    this.#receive = receive;
    this.#channel = `${options.prefix}:${options.name}`;
  }

  async publish(message: unknown): Promise<void> {
    const { link, observer, kind } = this.#options;
    const receivers = await link.attempt(() => link.client.publish(this.#channel, JSON.stringify(message)));
    if (receivers === undefined) observer.handoverFailed(kind);
  }

  /** Over one connection, however often it is asked for. */
  subscribe(): void {
    this.#subscriber ??= this.#open();
  }

  #open(): Redis {
    const { link, observer, name } = this.#options;
    const subscriber = link.openPatient();
    subscriber.on('message', (_channel, message) => this.#receive(message));
    subscriber.subscribe(this.#channel).catch((error) => observer.errored(`${name}-subscribe`, error));
    return subscriber;
  }
}
