/**
 * Runs one function at a time. Requests that come while it runs cost one more run, all together: whoever asks is
 * promised a run that starts after the question, and nothing is ever queued. Failures are reported, never thrown.
 */
export class CoalescedRun {
  readonly #run: () => Promise<void>;
  readonly #report: (error: unknown) => void;
  #current: Promise<void> | null = null;
  #following: Promise<void> | null = null;
  #stopped = false;

  constructor(run: () => Promise<void>, report: (error: unknown) => void) {
    this.#run = run;
    this.#report = report;
  }

  /** A further run is asked for while one is under way. */
  get waiting(): boolean {
    return this.#following !== null;
  }

  /** Resolves when a run that began after this call has ended. */
  request(): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    if (this.#current === null) return this.#begin();
    this.#following ??= this.#current.then(() => this.#begin());
    return this.#following;
  }

  /** No run begins any more; resolves when the last one has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await (this.#following ?? this.#current);
  }

  #begin(): Promise<void> {
    this.#following = null;
    this.#current = this.#once();
    return this.#current;
  }

  async #once(): Promise<void> {
    try {
      // Not on the stack of the one who asks: what it does before its first await is its own time.
      await null;
      if (!this.#stopped) await this.#run();
    } catch (error) {
      this.#report(error);
    } finally {
      if (this.#following === null) this.#current = null;
    }
  }
}
