import type { Job } from 'bullmq';
import { limits } from '../../config/limits.ts';
import { withDeadline } from '../../system/deadline.ts';
import { CoalescedRun } from '../coalesced-run.ts';
import type { QueueObserver } from '../queue.ts';
import { BoundedQueue } from './bounded-queue.ts';
import { BoundedWorker } from './bounded-worker.ts';
import type { RedisLink } from './redis-link.ts';

const queueName = 'wake';
/** At most one wake-up waits in Redis: those that come after it would find the same journal. */
const deduplication = { id: 'wake' };

export interface WakeUpsOptions {
  readonly link: RedisLink;
  readonly prefix: string;
  readonly observer: QueueObserver;
  readonly lockMs: number;
}

/**
 * Wake-ups as BullMQ jobs. One waits in Redis at most, and one send is under way in this process at most.
 *
 * The job that waits gives up its place (the deduplication key) as its run begins, so a wake-up during the run makes
 * another job, which another process may take. A job's id is never used twice: BullMQ ignores an id that it still knows.
 */
export class WakeUps {
  readonly #options: WakeUpsOptions;
  readonly #queue: BoundedQueue;
  readonly #send: CoalescedRun;
  #worker: BoundedWorker | null = null;
  #work: CoalescedRun | null = null;
  #latestBatch: string | null = null;
  #claims = 0;
  #depth = 0;

  constructor(options: WakeUpsOptions) {
    const { observer } = options;
    this.#options = options;
    this.#send = new CoalescedRun(
      () => this.#sendLatest(),
      (error) => observer.errored('wake-send', error),
    );
    this.#queue = new BoundedQueue(queueName, options);
  }

  wake(batchId: string): Promise<void> {
    this.#latestBatch = batchId;
    return this.#send.request();
  }

  /** Puts back the wake-up that may have been lost. */
  repair(): void {
    if (this.#latestBatch !== null) void this.#send.request();
  }

  onWake(work: () => Promise<void>): void {
    const { observer } = this.#options;
    this.#work = new CoalescedRun(work, (error) => observer.errored('wake', error));
    this.#worker = new BoundedWorker({ ...this.#options, queue: queueName }, (job) => this.#process(job));
  }

  async depth(): Promise<number> {
    const count = await this.#options.link.attempt(() => this.#queue.getWaitingCount());
    this.#depth = count ?? this.#depth;
    return this.#depth;
  }

  async close(): Promise<void> {
    await Promise.all([this.#send.stop(), this.#work?.stop()]);
    await this.#queue.closeInTime(this.#worker);
  }

  async #sendLatest(): Promise<void> {
    const batch = this.#latestBatch ?? 'none';
    this.#claims += 1;
    const jobId = `${batch}-${this.#options.link.instance}-${this.#claims}`;
    const options = { jobId, deduplication, removeOnComplete: true, removeOnFail: true };
    const job = await this.#options.link.attempt(() => this.#queue.add('wake', { batch }, options));
    if (job !== undefined) return;
    this.#options.observer.handoverFailed('wake');
    // Without Redis a worker of this very process is as good as any.
    void this.#work?.request();
  }

  async #process(job: Job): Promise<void> {
    await withDeadline(job.removeDeduplicationKey(), limits.queueWakeTimeoutMs).catch((error) =>
      this.#options.observer.errored('wake-claim', error),
    );
    await this.#work?.request();
  }
}
