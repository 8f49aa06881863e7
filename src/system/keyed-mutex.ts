/**
 * One at a time for each key, in the order of the calls; different keys do not wait for each other.
 *
 * Only for actions of this process. A key that nobody uses takes no memory.
 */
export class KeyedMutex {
  readonly #tails = new Map<string, Promise<unknown>>();

  run<T>(key: string, action: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key);
    const run = before === undefined ? action() : before.then(action, action);
    this.#tails.set(key, run);
    const forget = () => {
      if (this.#tails.get(key) === run) this.#tails.delete(key);
    };
    run.then(forget, forget);
    return run;
  }

  /** Resolves when every action that was asked for up to now has ended. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#tails.values());
  }
}
