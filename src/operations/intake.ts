import { limits } from '../config/limits.ts';
import { assert } from '../domain/errors.ts';
import type { Batch } from '../domain/operation.ts';
import type { Queue } from '../queue/queue.ts';
import type { AcceptAnswer, JournalStore, NewBatch } from '../store/store.ts';
import { GroupCommit } from '../system/group-commit.ts';
import type { BatchWaiters } from './batch-waiters.ts';
import type { Intake } from './control-plane.ts';
import type { OperationWorker } from './worker.ts';

type PlanningWorker = Pick<OperationWorker, 'advanceOptions' | 'take'>;

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
  readonly #worker: () => PlanningWorker | null;
  readonly #onCommit: (batches: number, milliseconds: number) => void;

  constructor(options: {
    readonly store: JournalStore;
    readonly queue: Queue;
    readonly waiters: BatchWaiters;
    readonly groupBatchesMax?: number;
    readonly onCommit?: (batches: number, milliseconds: number) => void;
    /** The worker of this process, where it is the only one: its plan goes into the journal's own commit. Null: not now. */
    readonly worker?: () => PlanningWorker | null;
  }) {
    this.#store = options.store;
    this.#queue = options.queue;
    this.#waiters = options.waiters;
    this.#worker = options.worker ?? (() => null);
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
    const batches = group.map(({ batch }) => batch);
    const worker = this.#worker();
    const answers = worker === null ? await this.#store.batchAccept(batches) : await this.#planToo(batches, worker);
    this.#onCommit(group.length, performance.now() - began);
    for (const [index, arrival] of group.entries()) arrival.answer = answers[index] ?? null;
    if (worker === null) this.#wake(group);
  }

  async #planToo(batches: readonly NewBatch[], worker: PlanningWorker): Promise<readonly AcceptAnswer[]> {
    const { answers, group } = await this.#store.batchAcceptAdvance(batches, worker.advanceOptions);
    worker.take(group);
    return answers;
  }

  #wake(group: readonly Arrival[]): void {
    const last = group.findLast(({ answer }) => answer?.accepted === true && !answer.replay);
    // Not awaited: what was accepted is durable, and a lost wake-up costs time, nothing else.
    if (last !== undefined) void this.#queue.wake(last.batch.id);
  }
}
