import type { Job } from 'bullmq';
import { limits } from '../../config/limits.ts';
import { CoalescedRun } from '../coalesced-run.ts';
import type { QueueObserver } from '../queue.ts';
import { BoundedQueue } from './bounded-queue.ts';
import { BoundedWorker } from './bounded-worker.ts';
import type { RedisLink } from './redis-link.ts';

const queueName = 'schedule';

export interface SchedulesOptions {
  readonly link: RedisLink;
  readonly prefix: string;
  readonly observer: QueueObserver;
  readonly lockMs: number;
}

interface Schedule {
  readonly everyMs: number;
  readonly run: CoalescedRun;
}

/**
 * Repeated work as BullMQ job schedulers: each turn goes to one of the processes that know the name. The schedulers
 * live in Redis and vanish with its data, so they are put there again when Redis comes back, and now and then anyway;
 * doing so does not move their next turn.
 */
export class Schedules {
  readonly #options: SchedulesOptions;
  readonly #queue: BoundedQueue;
  readonly #schedules = new Map<string, Schedule>();
  readonly #upsert: CoalescedRun;
  readonly #timer: NodeJS.Timeout;
  #worker: BoundedWorker | null = null;

  constructor(options: SchedulesOptions) {
    const { observer } = options;
    this.#options = options;
    this.#upsert = new CoalescedRun(
      () => this.#upsertAll(),
      (error) => observer.errored('schedule-upsert', error),
    );
    this.#queue = new BoundedQueue(queueName, options);
    this.#timer = setInterval(() => this.repair(), limits.queueRepairEveryMs);
  }

  async schedule(name: string, everyMs: number, run: () => Promise<void>): Promise<void> {
    const previous = this.#schedules.get(name);
    const guarded = new CoalescedRun(run, (error) => this.#options.observer.errored(name, error));
    this.#schedules.set(name, { everyMs, run: guarded });
    this.#worker ??= this.#startWorker();
    await previous?.run.stop();
    await this.#upsert.request();
  }

  repair(): void {
    if (this.#schedules.size > 0) void this.#upsert.request();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    const runs = [...this.#schedules.values()].map((schedule) => schedule.run.stop());
    await Promise.all([this.#upsert.stop(), ...runs]);
    await this.#queue.closeInTime(this.#worker);
  }

  async #upsertAll(): Promise<void> {
    for (const [name, { everyMs }] of this.#schedules) {
      const template = { name, opts: { removeOnComplete: true, removeOnFail: true } };
      const job = await this.#options.link.attempt(() =>
        this.#queue.upsertJobScheduler(name, { every: everyMs }, template),
      );
      if (job === undefined) this.#options.observer.handoverFailed('schedule');
    }
  }

  /** A turn that comes while this process still runs the last one is dropped, as a timer would. */
  async #process(job: Job): Promise<void> {
    const schedule = this.#schedules.get(job.name);
    if (schedule !== undefined && !schedule.run.running) await schedule.run.request();
  }

  #startWorker(): BoundedWorker {
    const options = { ...this.#options, queue: queueName, concurrency: limits.queueSchedulesAtOnce };
    return new BoundedWorker(options, (job) => this.#process(job));
  }
}
