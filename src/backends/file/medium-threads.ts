/**
 * Runs the media's blocking calls on threads of their own, with a deadline.
 *
 * A call that overran may still change bytes: the volume's lock, where one is given, is kept until it has really come
 * back. Without that, the next action would interleave with it.
 */
import { limits } from '../../config/limits.ts';
import { Failure } from '../../domain/errors.ts';
import { BlockingPool, siblingModule } from '../../system/blocking-pool.ts';
import type * as mediumCalls from './medium-calls.ts';
import type { VolumeLock } from './volume-lock.ts';

type Calls = typeof mediumCalls;

export class MediumThreads {
  readonly #pool = new BlockingPool({
    moduleUrl: siblingModule(import.meta.url, './medium-calls'),
    threads: limits.mediumThreads,
  });

  async call<K extends keyof Calls>(
    name: K,
    args: Parameters<Calls[K]>,
    lock: VolumeLock | null = null,
  ): Promise<ReturnType<Calls[K]>> {
    const release = lock?.retain() ?? (() => {});
    try {
      const options = { deadlineMs: limits.mediumCallMs, onLateReturn: release };
      const answer = await this.#pool.run<ReturnType<Calls[K]>>(name, args, options);
      release();
      return answer;
    } catch (error) {
      if (!isOverrun(error)) release();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }
}

function isOverrun(error: unknown): boolean {
  return error instanceof Failure && error.code === 'deadline-exceeded';
}
