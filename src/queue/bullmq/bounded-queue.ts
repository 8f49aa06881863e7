import { Queue } from 'bullmq';
import { limits } from '../../config/limits.ts';
import { withDeadline } from '../../system/deadline.ts';
import type { BoundedWorker } from './bounded-worker.ts';
import type { RedisLink } from './redis-link.ts';

/** A BullMQ queue over the link's own connection, which can be closed, with its worker, while Redis is away. */
export class BoundedQueue extends Queue {
  constructor(name: string, { link, prefix }: { readonly link: RedisLink; readonly prefix: string }) {
    super(name, {
      connection: link.client,
      prefix,
      skipVersionCheck: true,
      streams: { events: { maxLen: limits.queueEventsKept } },
    });
    this.on('error', (error) => link.report(`${name}-queue`, error));
  }

  async closeInTime(worker: BoundedWorker | null): Promise<void> {
    const parts = [worker?.closeInTime(), this.close()];
    await withDeadline(Promise.allSettled(parts), limits.queueCloseTimeoutMs).catch(() => undefined);
  }
}
