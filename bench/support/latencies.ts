/** Latencies of one kind, in milliseconds. Kept exactly, not in buckets: a bench must show a lone slow one too. */
export class Latencies {
  #values = new Float64Array(1_024);
  #count = 0;
  #sorted = true;

  get count(): number {
    return this.#count;
  }

  add(durationMs: number): void {
    if (this.#count === this.#values.length) {
      const larger = new Float64Array(2 * this.#values.length);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.#count] = durationMs;
    this.#count += 1;
    this.#sorted = false;
  }

  /** Runs it and adds how long that took; a failure is not a latency. */
  async time<T>(run: () => Promise<T>): Promise<T> {
    const start = performance.now();
    const answer = await run();
    this.add(performance.now() - start);
    return answer;
  }

  /** The smallest value that at least this share of all are not above (nearest rank); NaN without any. */
  quantile(share: number): number {
    if (!this.#sorted) this.#values.subarray(0, this.#count).sort();
    this.#sorted = true;
    const rank = Math.max(1, Math.ceil(share * this.#count));
    return this.#values.subarray(0, this.#count)[rank - 1] ?? Number.NaN;
  }

  get meanMs(): number {
    return this.#values.subarray(0, this.#count).reduce((sum, value) => sum + value, 0) / this.#count;
  }

  get p50Ms(): number {
    return this.quantile(0.5);
  }

  get p99Ms(): number {
    return this.quantile(0.99);
  }
}
