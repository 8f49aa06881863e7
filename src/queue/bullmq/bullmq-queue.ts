import { limits } from '../../config/limits.ts';
import type { NudgeListener, Queue, QueueObserver } from '../queue.ts';
import { EndedChannel } from './ended-channel.ts';
import { NudgeChannel } from './nudge-channel.ts';
import { RedisLink } from './redis-link.ts';
import { WakeUps } from './wake-ups.ts';

export interface BullMqQueueOptions {
  /** `redis://`, `rediss://`, or `unix:///path/of.sock`. */
  readonly url: string;
  /** Of every key and channel; installations that share a Redis need one each. */
  readonly prefix?: string;
  readonly observer: QueueObserver;
  /** How long a worker that died keeps the wake-up that it took. */
  readonly lockMs?: number;
}

/**
 * The queue of many processes, on BullMQ and Redis. Nothing in Redis is needed to be right: it may be killed, emptied,
 * paused or full. Then messages are lost and counted, callers wait for a second at the most, and everything that
 * belongs into Redis is put there again as soon as it answers.
 */
export class BullMqQueue implements Queue {
  readonly #link: RedisLink;
  readonly #wakeUps: WakeUps;
  readonly #ended: EndedChannel;
  readonly #nudges: NudgeChannel;
  #closing: Promise<void> | null = null;

  constructor({ url, prefix = 'fcr', observer, lockMs = limits.queueLockMs }: BullMqQueueOptions) {
    this.#link = new RedisLink({ url, prefix, observer, onRepair: () => this.#wakeUps.repair() });
    const shared = { link: this.#link, prefix, observer, lockMs };
    this.#wakeUps = new WakeUps(shared);
    this.#ended = new EndedChannel(shared);
    this.#nudges = new NudgeChannel(shared);
  }

  wake(batchId: string): Promise<void> {
    return this.#wakeUps.wake(batchId);
  }

  announceEnded(batchIds: readonly string[]): Promise<void> {
    return this.#ended.announce(batchIds);
  }

  nudge(reconcilers: readonly string[]): Promise<void> {
    return this.#nudges.nudge(reconcilers);
  }

  onNudge(listener: NudgeListener): void {
    this.#nudges.add(listener);
  }

  onWake(work: () => Promise<void>): void {
    this.#wakeUps.onWake(work);
  }

  onEnded(listener: (batchIds: readonly string[]) => void): void {
    this.#ended.add(listener);
  }

  depth(): Promise<number> {
    return this.#wakeUps.depth();
  }

  trouble(): string | null {
    return this.#link.trouble;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#nudges.close();
    try {
      await Promise.all([this.#wakeUps.close(), this.#ended.close()]);
    } finally {
      // A connection that stays open keeps the process.
      await this.#link.close();
    }
  }
}
