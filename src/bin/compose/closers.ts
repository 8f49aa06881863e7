import { withSuppressed } from '../../system/suppressed.ts';

/** What has been opened, closed in the opposite order, also when opening stopped halfway. */
export class Closers {
  readonly #closers: (() => Promise<unknown> | unknown)[] = [];

  add(close: () => Promise<unknown> | unknown): void {
    this.#closers.push(close);
  }

  /** All of them, also where one fails: what it leaves open would keep the next start out. Throws the first error. */
  async close(): Promise<void> {
    const errors = await this.#closeAll();
    if (errors.length > 0) throw withSuppressed(errors[0], errors.slice(1));
  }

  /** Closes what `open` has opened by then, if it throws. */
  static async over<T>(open: (closers: Closers) => Promise<T>): Promise<T> {
    const closers = new Closers();
    try {
      return await open(closers);
    } catch (error) {
      throw withSuppressed(error, await closers.#closeAll());
    }
  }

  async #closeAll(): Promise<unknown[]> {
    const errors: unknown[] = [];
    for (let close = this.#closers.pop(); close !== undefined; close = this.#closers.pop()) {
      try {
        await close();
      } catch (error) {
        errors.push(error);
      }
    }
    return errors;
  }
}
