import { assert } from '../domain/errors.ts';

/** At most so many actions at a time; the others wait in their order. */
export class Parallelism {
  readonly #limit: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(limit: number) {
    assert(limit >= 1, 'parallelism-limit');
    this.#limit = limit;
  }

  async run<T>(action: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#limit) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running += 1;
    try {
      return await action();
    } finally {
      this.#passOn();
    }
  }

  /** The place goes to who waits longest, without being free in between. */
  #passOn(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running -= 1;
    else next();
  }
}
