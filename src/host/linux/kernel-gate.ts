// The way into the kernel: calls on blocking threads under locks by key. A lock is kept until every call that was made
// under it has really returned, however late, so that a late one never lands beside a newer one; and what a late call
// hands out (a descriptor) is taken care of, since nobody waits for it any more.

import { Failure } from '../../domain/errors.ts';
import type { BlockingAnswer, BlockingPool } from '../../system/blocking-pool.ts';
import { KeyedLock, type Release } from '../../system/keyed-lock.ts';
import { SystemCallError } from '../../system/system-call-error.ts';

export interface KernelCallOptions<T> {
  readonly deadlineMs?: number;
  /** Told what came after the caller had been answered `deadline-exceeded`. */
  readonly onLate?: (value: T) => Promise<void> | void;
}

/** A function of `kernel-calls.ts`, on a blocking thread. */
export type KernelCall = <T>(name: string, request: unknown, options?: KernelCallOptions<T>) => Promise<T>;

/**
 * Keeps the locks until this has ended too, while the caller goes on; what becomes of it is not told. It begins when the
 * caller has gone on: to wake a thread takes time that somebody would wait for.
 */
export type Afterwards = (work: () => Promise<void>) => void;

export interface KernelGateOptions {
  readonly pool: BlockingPool;
  readonly callDeadlineMs: number;
  readonly lockDeadlineMs: number;
}

export class KernelGate {
  readonly #pool: BlockingPool;
  readonly #callDeadlineMs: number;
  readonly #lockDeadlineMs: number;
  readonly #locks = new KeyedLock();
  readonly #discarding = new Set<Promise<void>>();
  #closed = false;

  constructor({ pool, callDeadlineMs, lockDeadlineMs }: KernelGateOptions) {
    this.#pool = pool;
    this.#callDeadlineMs = callDeadlineMs;
    this.#lockDeadlineMs = lockDeadlineMs;
  }

  isFree(key: string): boolean {
    return this.#locks.isFree(key);
  }

  /** `deadline-exceeded` when an earlier holder does not let go; what the kernel refused otherwise is `device-error`. */
  async underLocks<T>(
    keys: readonly string[],
    work: (call: KernelCall, afterwards: Afterwards) => Promise<T>,
  ): Promise<T> {
    const release = await this.#acquire(keys);
    const late: Promise<void>[] = [];
    try {
      const call: KernelCall = (name, request, options) => this.#call(late, name, request, options);
      return await translated(() => work(call, (afterwards) => void late.push(nextTurn().then(afterwards))));
    } finally {
      if (late.length === 0) release();
      else void Promise.allSettled(late).then(release);
    }
  }

  /** Closes descriptors on a thread, since even that can block; tried again for as long as no thread takes it. */
  discard(descriptors: readonly number[]): Promise<void> {
    if (descriptors.length === 0 || this.#closed) return Promise.resolve();
    let began = true;
    const onLateReturn = (answer: unknown) => {
      began = answer !== null;
    };
    const options = { deadlineMs: this.#callDeadlineMs, onLateReturn };
    const discarding = this.#pool
      .run<void>('closeDescriptors', [descriptors], options)
      .catch((error: unknown) => {
        if (!began) void this.discard(descriptors).catch(() => {});
        throw error;
      })
      .finally(() => this.#discarding.delete(discarding));
    this.#discarding.add(discarding);
    return discarding;
  }

  /** What is being closed is waited for: a descriptor that stayed open would keep its device for this process's life. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#discarding);
    this.#closed = true;
    await this.#pool.close();
  }

  async #acquire(keys: readonly string[]): Promise<Release> {
    const held: Release[] = [];
    const releaseAll = () => {
      for (const release of held) release();
    };
    try {
      for (const key of keys) held.push(await this.#locks.acquire(key, this.#lockDeadlineMs));
    } catch (error) {
      releaseAll();
      throw error;
    }
    return releaseAll;
  }

  async #call<T>(
    late: Promise<void>[],
    name: string,
    request: unknown,
    { deadlineMs = this.#callDeadlineMs, onLate }: KernelCallOptions<T> = {},
  ): Promise<T> {
    const { promise: ended, resolve: onLateReturn } = Promise.withResolvers<BlockingAnswer | null>();
    try {
      return await this.#pool.run<T>(name, [request], { deadlineMs, onLateReturn });
    } catch (error) {
      if (error instanceof Failure && error.code === 'deadline-exceeded') {
        late.push(ended.then((answer) => (answer?.ok === true ? onLate?.(answer.value as T) : undefined)));
      }
      throw error;
    }
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function translated<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error;
    throw new Failure('device-error', error.message, { cause: error });
  }
}
