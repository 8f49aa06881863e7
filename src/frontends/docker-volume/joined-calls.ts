/** Of calls for one thing at one time only the first does anything: each is answered when that ends, and as it did. */
export class JoinedCalls {
  readonly #running = new Map<string, Promise<void>>();

  join(key: string, begin: () => Promise<void>): Promise<void> {
    const present = this.#running.get(key);
    if (present !== undefined) return present;
    const running = begin().finally(() => {
      if (this.#running.get(key) === running) this.#running.delete(key);
    });
    this.#running.set(key, running);
    return running;
  }

  /** Something was asked for that the running call knows nothing of: whoever comes after that does not join it. */
  close(key: string): void {
    this.#running.delete(key);
  }
}
