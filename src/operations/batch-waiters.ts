import { limits } from '../config/limits.ts';
import { Failure } from '../domain/errors.ts';
import type { Batch } from '../domain/operation.ts';
import type { JournalStore } from '../store/store.ts';

interface Waiter {
  readonly resolve: (batch: Batch | null) => void;
  readonly timer: NodeJS.Timeout;
}

/** How often the store is asked about batches whose end nobody announced here (another process ran them). */
const pollMs = 250;

/**
 * What ended before anybody waited: in the commit that journalled a batch, its end is known before the request can wait.
 * Each is handed over once, so that batches do not outlive their answers. Of the others, whose clients do not wait, as
 * many as one group has stay; whoever comes too late asks the store.
 */
class EndedEarly {
  readonly #batches = new Map<string, Batch>();
  #operations = 0;

  add(batch: Batch): void {
    this.take(batch.id);
    this.#batches.set(batch.id, batch);
    this.#operations += batch.operations.length;
    for (const oldest of this.#batches.keys()) {
      if (this.#operations <= limits.groupOperations) break;
      this.take(oldest);
    }
  }

  take(id: string): Batch | null {
    const batch = this.#batches.get(id);
    if (batch === undefined) return null;
    this.#batches.delete(id);
    this.#operations -= batch.operations.length;
    return batch;
  }
}

/**
 * Requests that wait for their batch to end. A batch that ended in this process is handed over as it is; for the others
 * one question to the store serves all who wait.
 */
export class BatchWaiters {
  readonly #store: JournalStore;
  readonly #waiting = new Map<string, Waiter[]>();
  readonly #early = new EndedEarly();
  #count = 0;
  #poll: NodeJS.Timeout | null = null;
  #closed = false;

  readonly #onError: (error: unknown) => void;

  /** `onError` is told what the store threw that is no refusal; those who wait are asked for again all the same. */
  constructor(store: JournalStore, onError: (error: unknown) => void) {
    this.#store = store;
    this.#onError = onError;
  }

  async wait(batch: string, timeoutMs: number): Promise<Batch | null> {
    const early = this.#early.take(batch);
    if (early !== null) return early;
    if (this.#closed || this.#count >= limits.waitingRequests) return null;
    const ended = new Promise<Batch | null>((resolve) => this.#add(batch, resolve, timeoutMs));
    return ended;
  }

  /** Batches that ended in this process. */
  ended(batches: readonly Batch[]): void {
    for (const batch of batches) {
      if (this.#waiting.has(batch.id)) this.#resolve(batch.id, batch);
      else if (!this.#closed) this.#early.add(batch);
    }
  }

  /** Batches that are said to have ended, somewhere. */
  announced(ids: readonly string[]): void {
    const ours = ids.filter((id) => this.#waiting.has(id));
    if (ours.length > 0) void this.#look(ours);
  }

  close(): void {
    this.#closed = true;
    if (this.#poll !== null) clearTimeout(this.#poll);
    for (const id of [...this.#waiting.keys()]) this.#resolve(id, null);
  }

  #add(batch: string, resolve: (batch: Batch | null) => void, timeoutMs: number): void {
    const waiter: Waiter = { resolve, timer: setTimeout(() => this.#giveUp(batch, waiter), timeoutMs) };
    this.#waiting.set(batch, [...(this.#waiting.get(batch) ?? []), waiter]);
    this.#count += 1;
    this.#poll ??= setTimeout(() => this.#pollOnce(), pollMs);
  }

  #giveUp(batch: string, waiter: Waiter): void {
    const rest = (this.#waiting.get(batch) ?? []).filter((one) => one !== waiter);
    if (rest.length === 0) this.#waiting.delete(batch);
    else this.#waiting.set(batch, rest);
    this.#count -= 1;
    waiter.resolve(null);
  }

  #resolve(id: string, batch: Batch | null): void {
    const waiters = this.#waiting.get(id);
    if (waiters === undefined) return;
    this.#waiting.delete(id);
    this.#count -= waiters.length;
    for (const { timer, resolve } of waiters) {
      clearTimeout(timer);
      resolve(batch);
    }
  }

  async #pollOnce(): Promise<void> {
    if (this.#waiting.size > 0) await this.#look([...this.#waiting.keys()]);
    this.#poll = this.#closed || this.#waiting.size === 0 ? null : setTimeout(() => this.#pollOnce(), pollMs);
  }

  async #look(ids: readonly string[]): Promise<void> {
    try {
      this.ended(await this.#store.batchListEnded(ids));
    } catch (error) {
      // Those who wait are answered 202 when their time is over; the next look may succeed.
      // A look that was under way when the process closed finds the store closed too.
      if (!(error instanceof Failure) && !this.#closed) this.#onError(error);
    }
  }
}
