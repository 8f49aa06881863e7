import { limits } from '../config/limits.ts';
import { Failure, type Problem } from '../domain/errors.ts';

type Outcome = { readonly ok: true } | { readonly ok: false; readonly problem: Problem };

const nouns = {
  wiped: 'volume',
  made: 'volume',
  destroyed: 'volume',
  exported: 'attachment',
  unexported: 'attachment',
  matched: 'volume',
};

export type Deed = keyof typeof nouns;

/**
 * What a run could not do though it went on: told once it is over, so that the run counts as failed, with the reasons.
 * An effect that a later round has overtaken is no failure.
 */
export class Failures {
  readonly #problems = new Map<Deed, Problem[]>();
  readonly #thrown: Failure[] = [];

  /** Answers how many succeeded. */
  add(deed: Deed, outcomes: readonly Outcome[]): number {
    const problems = outcomes.flatMap((outcome) => (outcome.ok ? [] : [outcome.problem]));
    const failed = problems.filter(({ code }) => code !== 'stale-generation');
    if (failed.length > 0) this.#problems.set(deed, [...(this.#problems.get(deed) ?? []), ...failed]);
    return outcomes.length - problems.length;
  }

  /** A call to a storage node threw: what became of its items is unknown. */
  addThrown(storageNode: string, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    const code = error instanceof Failure ? error.code : 'internal';
    this.#thrown.push(new Failure(code, `Storage node "${storageNode}": ${reason}`, { cause: error }));
  }

  /** Throws where there were any. A bug goes first, with its stack. */
  tell(): void {
    const told = [...this.#problems].map(
      ([deed, problems]) => new Failure(codeOf(problems), sentenceOf(deed, problems)),
    );
    const all = [...this.#thrown, ...told];
    const first = all.find(({ code }) => code === 'internal') ?? all[0];
    if (first === undefined) return;
    const rest = all.filter((failure) => failure !== first).map(({ message }) => message);
    throw new Failure(first.code, [first.message, ...rest].join(' '), { cause: first.cause });
  }
}

function codeOf([first]: readonly Problem[]) {
  return first?.code ?? 'internal';
}

function sentenceOf(deed: Deed, problems: readonly Problem[]): string {
  const count = problems.length === 1 ? `One ${nouns[deed]}` : `${problems.length} ${nouns[deed]}s`;
  const reasons = [...new Set(problems.map(({ detail }) => detail.replace(/\.$/, '')))];
  const told = reasons.slice(0, limits.failureReasonsTold);
  const more = reasons.length - told.length;
  return `${count} could not be ${deed}: ${told.join('; ')}${more > 0 ? `; and ${more} more reasons` : ''}.`;
}
