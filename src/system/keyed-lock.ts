// One lock a key, first come first served, for check-and-act on one volume by many asynchronous callers.
// A holder may keep the lock beyond its own answer (a call into the kernel that has not returned): later ones then wait
// until their deadline instead of acting beside it.

import { Failure } from '../domain/errors.ts';

export type Release = () => void;

export class KeyedLock {
  readonly #tails = new Map<string, Promise<void>>();

  get size(): number {
    return this.#tails.size;
  }

  isFree(key: string): boolean {
    return !this.#tails.has(key);
  }

  /** Throws `deadline-exceeded` when the holders before do not release in time; the key's order is kept. */
  async acquire(key: string, deadlineMs: number): Promise<Release> {
    const before = this.#tails.get(key);
    const { promise, resolve } = Promise.withResolvers<void>();
    const tail = before === undefined ? promise : before.then(() => promise);
    this.#tails.set(key, tail);
    const release = () => {
      resolve();
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    };
    if (before === undefined) return release;
    if (await inTime(before, deadlineMs)) return release;
    void before.then(release);
    throw new Failure('deadline-exceeded', `An earlier call for ${key} has not ended within ${deadlineMs} ms.`);
  }

  async run<T>(key: string, deadlineMs: number, work: () => Promise<T>): Promise<T> {
    const release = await this.acquire(key, deadlineMs);
    try {
      return await work();
    } finally {
      release();
    }
  }
}

async function inTime(promise: Promise<void>, deadlineMs: number): Promise<boolean> {
  const { promise: expired, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), deadlineMs);
  try {
    return await Promise.race([promise.then(() => true), expired]);
  } finally {
    clearTimeout(timer);
  }
}
