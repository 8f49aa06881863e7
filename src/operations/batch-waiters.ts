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

/** How long a batch that ended is kept for whoever is about to wait for it. */
const recentMs = 1_000;

/**
 * Requests that wait for their batch to end. A batch that ended in this process is handed over as it is; for the others
 * one question to the store serves all who wait.
 */
export class BatchWaiters {
  readonly #store: JournalStore;
  readonly #waiting = new Map<string, Waiter[]>();
  /** Ended before anybody waited: whoever asks within the next second or two need not ask the store. */
  #recent = new Map<string, Batch>();
  #older = new Map<string, Batch>();
  #rotation: NodeJS.Timeout | null = null;
  #count = 0;
  #poll: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(store: JournalStore) {
    this.#store = store;
  }

  async wait(batch: string, timeoutMs: number): Promise<Batch | null> {
    const recent = this.#recent.get(batch) ?? this.#older.get(batch);
    if (recent !== undefined) return recent;
    if (this.#closed || this.#count >= limits.waitingRequests) return null;
    const ended = new Promise<Batch | null>((resolve) => this.#add(batch, resolve, timeoutMs));
    return ended;
  }

  /** Batches that ended in this process. */
  ended(batches: readonly Batch[]): void {
    for (const batch of batches) {
      if (this.#waiting.has(batch.id)) this.#resolve(batch.id, batch);
      else this.#remember(batch);
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
    if (this.#rotation !== null) clearTimeout(this.#rotation);
    for (const id of [...this.#waiting.keys()]) this.#resolve(id, null);
  }

  #add(batch: string, resolve: (batch: Batch | null) => void, timeoutMs: number): void {
    const waiter: Waiter = { resolve, timer: setTimeout(() => this.#giveUp(batch, waiter), timeoutMs) };
    this.#waiting.set(batch, [...(this.#waiting.get(batch) ?? []), waiter]);
    this.#count += 1;
    this.#poll ??= setTimeout(() => this.#pollOnce(), pollMs);
  }

  #remember(batch: Batch): void {
    if (this.#closed || this.#recent.size >= limits.waitingRequests) return;
    this.#recent.set(batch.id, batch);
    this.#rotation ??= setTimeout(() => this.#rotate(), recentMs).unref();
  }

  #rotate(): void {
    this.#older = this.#recent;
    this.#recent = new Map();
    this.#rotation = this.#older.size === 0 ? null : setTimeout(() => this.#rotate(), recentMs).unref();
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
      if (!(error instanceof Failure) && !this.#closed) throw error;
    }
  }
}
