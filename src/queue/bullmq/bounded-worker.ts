import { type Job, Worker } from 'bullmq';
import { limits } from '../../config/limits.ts';
import { withDeadline } from '../../system/deadline.ts';
import type { RedisLink } from './redis-link.ts';

/** A job whose worker died comes back this often before it is given up; it is only a wake-up. */
const maxStalledCount = 3;

export interface BoundedWorkerOptions {
  readonly queue: string;
  readonly link: RedisLink;
  readonly prefix: string;
  readonly lockMs: number;
}

/**
 * A BullMQ worker that can be closed while Redis is away: BullMQ then waits for the end of a connection that is between
 * two attempts and never ends, and its lock timer keeps the process alive.
 */
export class BoundedWorker extends Worker {
  constructor(options: BoundedWorkerOptions, process: (job: Job) => Promise<void>) {
    super(options.queue, process, {
      connection: options.link.openPatient(),
      prefix: options.prefix,
      lockDuration: options.lockMs,
      stalledInterval: options.lockMs / 2,
      maxStalledCount,
      runRetryDelay: limits.queueReconnectMaxMs,
    });
    this.on('error', (error) => options.link.report(`${options.queue}-worker`, error));
  }

  async closeInTime(): Promise<void> {
    await withDeadline(this.close(), limits.queueCloseTimeoutMs).catch(() => undefined);
    await this.lockManager.close();
  }
}
