/**
 * One look at the store's events for all open streams of this process.
 *
 * While anybody listens, the newest events are fetched at a steady pace into a bounded memory. A stream takes what
 * follows its cursor from there; one that has fallen behind the memory, or resumes from before it, reads the store. No
 * stream has a buffer of its own: it asks for the next page when its client has taken the last one.
 */
import { limits } from '../config/limits.ts';
import type { Event } from '../domain/event.ts';

export interface EventSource {
  eventsAfter(cursor: string | null, atMost: number): Promise<readonly Event[]>;
  eventsHead(): Promise<string>;
}

export class EventFeed {
  readonly #source: () => EventSource;
  #recent: Event[] = [];
  /** Where each remembered cursor is, counted from the first event that was ever remembered. */
  #places = new Map<string, number>();
  #dropped = 0;
  /** The cursor before the first remembered event. */
  #base: string | null = null;
  #head: string | null = null;
  /** Fetches that brought something: one between a look and the wait for the next must not be missed. */
  #fetches = 0;
  #listeners = 0;
  #polling: Promise<void> | null = null;
  #wake: (() => void)[] = [];
  #closed = false;

  constructor(source: () => EventSource) {
    this.#source = source;
  }

  /** Where a stream that starts now begins. */
  async head(): Promise<string> {
    return await this.#source().eventsHead();
  }

  /** The next events after the cursor, waiting at most `waitMs` for one; empty when there is none. */
  async next(cursor: string, waitMs: number, signal: AbortSignal): Promise<readonly Event[]> {
    const fetches = this.#fetches;
    const found = await this.#after(cursor);
    if (found.length > 0 || signal.aborted || this.#closed) return found;
    if (fetches === this.#fetches) await this.#change(waitMs, signal);
    return await this.#after(cursor);
  }

  listen(): void {
    this.#listeners += 1;
    this.#polling ??= this.#poll();
  }

  unlisten(): void {
    this.#listeners -= 1;
  }

  /** Ends what waits. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#announce();
    await this.#polling;
  }

  get closed(): boolean {
    return this.#closed;
  }

  async #after(cursor: string): Promise<readonly Event[]> {
    if (cursor === this.#head && this.#polling !== null) return [];
    const place = cursor === this.#base ? this.#dropped - 1 : this.#places.get(cursor);
    if (place === undefined) return await this.#source().eventsAfter(cursor, limits.eventPageSize);
    const start = place - this.#dropped + 1;
    return this.#recent.slice(start, start + limits.eventPageSize);
  }

  #change(waitMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        this.#wake = this.#wake.filter((waiting) => waiting !== done);
        resolve();
      };
      const timer = setTimeout(done, waitMs);
      signal.addEventListener('abort', done, { once: true });
      this.#wake.push(done);
    });
  }

  async #poll(): Promise<void> {
    while (this.#listeners > 0 && !this.#closed) {
      const more = await this.#fetch().catch(() => false);
      if (!more) await new Promise((resolve) => setTimeout(resolve, limits.eventPollMs));
    }
    this.#forget();
  }

  /** Nobody looks any more, so what is remembered would soon be old. */
  #forget(): void {
    this.#polling = null;
    this.#head = null;
    this.#base = null;
    this.#recent = [];
    this.#places.clear();
    this.#dropped = 0;
  }

  async #fetch(): Promise<boolean> {
    if (this.#head === null) {
      this.#head = await this.#source().eventsHead();
      this.#base = this.#head;
    }
    const events = await this.#source().eventsAfter(this.#head, limits.eventPageSize);
    for (const event of events) this.#remember(event);
    this.#head = events.at(-1)?.cursor ?? this.#head;
    if (events.length > 0) this.#announce();
    return events.length === limits.eventPageSize;
  }

  #remember(event: Event): void {
    this.#places.set(event.cursor, this.#dropped + this.#recent.length);
    this.#recent.push(event);
    if (this.#recent.length <= limits.eventsRemembered) return;
    const gone = this.#recent.splice(0, limits.eventsRemembered / 2);
    for (const old of gone) this.#places.delete(old.cursor);
    this.#dropped += gone.length;
    this.#base = gone.at(-1)?.cursor ?? this.#base;
  }

  #announce(): void {
    this.#fetches += 1;
    for (const wake of this.#wake.splice(0)) wake();
  }
}
