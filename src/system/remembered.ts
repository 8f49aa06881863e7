import type { Clock } from './clock.ts';

/**
 * One answer for all who ask while it is looked for, and for a while after it was found: however many ask, there is one
 * look at a time, and a pause behind it. That a look failed is an answer, too.
 */
export class Remembered<T> {
  readonly #look: () => Promise<T>;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #lifetimeMs: number;
  #answer: Promise<T> | null = null;
  #until = Number.POSITIVE_INFINITY;

  constructor(
    look: () => Promise<T>,
    { clock, lifetimeMs }: { readonly clock: Pick<Clock, 'monotonic'>; readonly lifetimeMs: number },
  ) {
    this.#look = look;
    this.#clock = clock;
    this.#lifetimeMs = lifetimeMs;
  }

  get(): Promise<T> {
    if (this.#answer === null || this.#clock.monotonic() >= this.#until) this.#answer = this.#ask();
    return this.#answer;
  }

  async #ask(): Promise<T> {
    this.#until = Number.POSITIVE_INFINITY;
    try {
      return await this.#look();
    } finally {
      this.#until = this.#clock.monotonic() + this.#lifetimeMs;
    }
  }
}
