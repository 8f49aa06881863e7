import { setImmediate as tick } from 'node:timers/promises';
import { limits } from '../../config/limits.ts';
import { CoalescedRun } from '../coalesced-run.ts';
import { type EndedListener, EndedListeners } from '../ended-listeners.ts';
import { Channel, type ChannelOptions } from './channel.ts';

/**
 * Ended batches, one message a tick at most. This process is told directly, so its own waiting requests do not depend on
 * Redis. What cannot be sent is dropped: whoever waits also looks for itself.
 */
export class EndedChannel {
  readonly #options: ChannelOptions;
  readonly #channel: Channel;
  readonly #listeners: EndedListeners;
  readonly #publish: CoalescedRun;
  #unsent = new Set<string>();

  constructor(options: ChannelOptions) {
    this.#options = options;
    this.#channel = new Channel({ ...options, name: 'ended', kind: 'announcement' }, (text) => this.#receive(text));
    this.#listeners = new EndedListeners(options.observer);
    this.#publish = new CoalescedRun(
      () => this.#publishUnsent(),
      (error) => options.observer.errored('ended-publish', error),
    );
  }

  add(listener: EndedListener): void {
    this.#listeners.add(listener);
    this.#channel.subscribe();
  }

  async announce(batchIds: readonly string[]): Promise<void> {
    if (batchIds.length === 0) return;
    for (const id of batchIds) this.#remember(id);
    await Promise.all([this.#listeners.announce(batchIds), this.#publish.request()]);
  }

  async close(): Promise<void> {
    await this.#publish.stop();
    await this.#listeners.stop();
  }

  #remember(id: string): void {
    if (this.#unsent.size < limits.queueAnnouncementsPending) this.#unsent.add(id);
    else this.#options.observer.handoverFailed('announcement');
  }

  async #publishUnsent(): Promise<void> {
    await tick();
    const ids = [...this.#unsent];
    this.#unsent = new Set();
    for (let first = 0; first < ids.length; first += limits.queueAnnouncementBatches) {
      const part = ids.slice(first, first + limits.queueAnnouncementBatches);
      await this.#channel.publish({ from: this.#options.link.instance, ended: part });
    }
  }

  #receive(message: string): void {
    const announced = parseAnnouncement(message);
    if (announced === null) return;
    if (announced.from !== this.#options.link.instance) void this.#listeners.announce(announced.ended);
  }
}

interface Announcement {
  readonly from: string;
  readonly ended: readonly string[];
}

/** Another version's message that cannot be read is nothing lost. */
function parseAnnouncement(message: string): Announcement | null {
  try {
    const value: unknown = JSON.parse(message);
    if (typeof value !== 'object' || value === null || !('from' in value) || !('ended' in value)) return null;
    const { from, ended } = value;
    if (typeof from !== 'string' || !Array.isArray(ended)) return null;
    return { from, ended: ended.filter((id) => typeof id === 'string') };
  } catch {
    return null;
  }
}
