/**
 * One costly action for everything that asked for it meanwhile: items that arrive while a run is under way go together
 * into the next one. No timer; under light load a call waits for nothing.
 *
 * Runs never overlap, so the action may rely on being alone. A run that throws fails exactly the calls it carried.
 */
export class GroupCommit<T> {
  readonly #run: (items: readonly T[]) => Promise<void>;
  #waiting: T[] = [];
  #nextRun: Promise<void> | null = null;
  #current: Promise<void> = Promise.resolve();

  constructor(run: (items: readonly T[]) => Promise<void>) {
    this.#run = run;
  }

  /** Resolves when a run that began after this call has carried the items. */
  add(items: readonly T[]): Promise<void> {
    for (const item of items) this.#waiting.push(item);
    this.#nextRun ??= this.#scheduleRun();
    return this.#nextRun;
  }

  /** Resolves when nothing runs or waits, however it ended. */
  async settled(): Promise<void> {
    await (this.#nextRun ?? this.#current).catch(() => undefined);
  }

  #scheduleRun(): Promise<void> {
    const before = this.#current;
    const run = before
      .catch(() => undefined)
      .then(afterPendingMicrotasks)
      .then(() => {
        const items = this.#waiting;
        this.#waiting = [];
        this.#nextRun = null;
        return this.#run(items);
      });
    this.#current = run;
    return run;
  }
}

/** Callers that an earlier group let go on at the same moment come together again in the next one. */
function afterPendingMicrotasks(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}
