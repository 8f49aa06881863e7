import { Failure, type Problem } from '../domain/errors.ts';
import type { VolumeSettle } from '../store/store.ts';

/** What a run could not do though it went on: told once it is over, so that the run counts as failed, with a reason. */
export class Failures {
  readonly #problems: Problem[] = [];

  add(settles: readonly VolumeSettle[]): void {
    for (const { result } of settles) if (!result.ok) this.#problems.push(result.problem);
  }

  /** Throws the first, with how many there were; nothing if there were none. */
  tell(verb: string): void {
    const [first] = this.#problems;
    if (first === undefined) return;
    const count = this.#problems.length === 1 ? 'One volume' : `${this.#problems.length} volumes`;
    throw new Failure(first.code, `${count} could not be ${verb}: ${first.detail}`);
  }
}
