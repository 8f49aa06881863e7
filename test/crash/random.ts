/** Random choices that a seed repeats (mulberry32): a complaint names its seed, and the seed brings the load back. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to, not including, 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  below(bound: number): number {
    return Math.floor(this.next() * bound);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(list: readonly [T, ...T[]]): T {
    return list[this.below(list.length)] ?? list[0];
  }

  pickOrNull<T>(list: readonly T[]): T | null {
    return list[this.below(list.length)] ?? null;
  }

  /** A stream of its own, so that one worker's choices do not depend on how fast another one is. */
  fork(): Random {
    return new Random(this.below(2 ** 32));
  }
}
