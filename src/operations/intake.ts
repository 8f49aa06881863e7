import { limits } from '../config/limits.ts';
import { assert } from '../domain/errors.ts';
import type { Batch } from '../domain/operation.ts';
import type { Queue } from '../queue/queue.ts';
import type { AcceptAnswer, JournalStore, NewBatch } from '../store/store.ts';
import { GroupCommit } from '../system/group-commit.ts';
import type { BatchWaiters } from './batch-waiters.ts';
import type { Intake } from './control-plane.ts';

interface Arrival {
  readonly batch: NewBatch;
  answer: AcceptAnswer | null;
  error: unknown;
}

/**
 * Journals batches. All that arrive while a commit runs go into the next one; no timer. The wake-up that follows may be
 * lost: workers look into the journal by themselves.
 */
export class JournalIntake implements Intake {
  readonly #store: JournalStore;
  readonly #queue: Queue;
  readonly #waiters: BatchWaiters;
  readonly #commit: GroupCommit<Arrival>;
  readonly #onCommit: (batches: number, milliseconds: number) => void;

  constructor(options: {
    readonly store: JournalStore;
    readonly queue: Queue;
    readonly waiters: BatchWaiters;
    readonly groupBatchesMax?: number;
    readonly onCommit?: (batches: number, milliseconds: number) => void;
  }) {
    this.#store = options.store;
    this.#queue = options.queue;
    this.#waiters = options.waiters;
    this.#onCommit = options.onCommit ?? (() => undefined);
    const most = options.groupBatchesMax ?? limits.groupBatches;
    this.#commit = new GroupCommit((arrivals) => this.#journal(arrivals, most));
  }

  async accept(batch: NewBatch): Promise<AcceptAnswer> {
    const arrival: Arrival = { batch, answer: null, error: null };
    await this.#commit.add([arrival]);
    if (arrival.error !== null) throw arrival.error;
    assert(arrival.answer !== null, 'intake-answer');
    return arrival.answer;
  }

  waitEnded(batch: string, timeoutMs: number): Promise<Batch | null> {
    return this.#waiters.wait(batch, timeoutMs);
  }

  async #journal(arrivals: readonly Arrival[], most: number): Promise<void> {
    for (let from = 0; from < arrivals.length; from += most) {
      const group = arrivals.slice(from, from + most);
      try {
        await this.#journalGroup(group);
      } catch (error) {
        // The groups before this one are durable, and those behind it may still become so.
        for (const arrival of group) arrival.error = error;
      }
    }
  }

  async #journalGroup(group: readonly Arrival[]): Promise<void> {
    const began = performance.now();
    const answers = await this.#store.batchAccept(group.map(({ batch }) => batch));
    this.#onCommit(group.length, performance.now() - began);
    for (const [index, arrival] of group.entries()) arrival.answer = answers[index] ?? null;
    this.#wake(group);
  }

  #wake(group: readonly Arrival[]): void {
    const last = group.findLast(({ answer }) => answer?.accepted === true && !answer.replay);
    // Not awaited: what was accepted is durable, and a lost wake-up costs time, nothing else.
    if (last !== undefined) void this.#queue.wake(last.batch.id);
  }
}
