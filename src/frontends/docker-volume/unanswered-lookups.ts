/**
 * What look-ups that had no answer have met lately. An engine repeats one without saying which it was, nor which engine it
 * is, and several may be at it: each repeat is told all of it, rather than what another engine's look-up has met.
 */
import { limits } from '../../config/limits.ts';
import type { Clock } from '../../system/clock.ts';

export class UnansweredLookups {
  readonly #clock: Pick<Clock, 'monotonic'>;
  /** When each reason was met last, oldest first. */
  readonly #metAt = new Map<string, number>();

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  add(reason: string): void {
    this.#metAt.delete(reason);
    this.#metAt.set(reason, this.#clock.monotonic());
    const [oldest] = this.#metAt.keys();
    if (oldest !== undefined && this.#metAt.size > limits.dockerLookupReasons) this.#metAt.delete(oldest);
  }

  /** The latest first. */
  reasons(): readonly string[] {
    const since = this.#clock.monotonic() - limits.dockerRepeatsMs;
    for (const [reason, metAt] of this.#metAt) if (metAt < since) this.#metAt.delete(reason);
    return [...this.#metAt.keys()].reverse();
  }
}
