import { BrokenAssertion } from '../../domain/errors.ts';
import type { GroupPlanner } from '../group.ts';
import type { GroupAnswer, Mistake } from '../store.ts';

/** A bug keeps a group from being planned or its plan from being written. */
export class GroupMistake extends Error {
  /** The group, in journal order. */
  readonly batches: readonly string[];

  constructor(batches: readonly string[], cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.name = 'GroupMistake';
    this.batches = batches;
  }

  told(batch: string | null, outcome: Mistake['outcome']): Mistake {
    const { cause, message } = this;
    return { batch, outcome, message, stack: cause instanceof Error ? (cause.stack ?? '') : '' };
  }
}

/** What planning itself threw, whatever it was: planning asks nothing of the world. */
class PlannerError extends Error {}

export function asMistakes(planner: GroupPlanner): GroupPlanner {
  return {
    references: (...args) => planned(() => planner.references(...args)),
    needs: (...args) => planned(() => planner.needs(...args)),
    advance: (...args) => planned(() => planner.advance(...args)),
    settle: (...args) => planned(() => planner.settle(...args)),
    giveUp: (...args) => planned(() => planner.giveUp(...args)),
  };
}

function planned<T>(plan: () => T): T {
  try {
    return plan();
  } catch (cause) {
    throw new PlannerError('planning failed', { cause });
  }
}

/** Names the group that a mistake was made with. What the world did (no connection, no space) passes as it is. */
export async function blaming<T>(batches: readonly string[], work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof PlannerError) throw new GroupMistake(batches, error.cause);
    throw isMistake(error) ? new GroupMistake(batches, error) : error;
  }
}

function isMistake(error: unknown): boolean {
  if ([BrokenAssertion, TypeError, RangeError, SyntaxError].some((kind) => error instanceof kind)) return true;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return brokenRules.some((prefix) => code.startsWith(prefix));
}

/** SQLite's and PostgreSQL's codes for rows that the schema does not admit. */
const brokenRules = ['SQLITE_CONSTRAINT', 'SQLITE_MISMATCH', 'SQLITE_TOOBIG', '21', '22', '23'];

/**
 * Commits a group. Where a mistake stops that, each batch of it in a commit of its own, in order; the one that cannot be
 * committed alone either is given up, and those behind it go on.
 */
export async function groupOrEach(
  commit: (only: string | null) => Promise<GroupAnswer>,
  giveUp: (batch: string, mistake: GroupMistake) => Promise<GroupAnswer>,
): Promise<GroupAnswer> {
  try {
    return await commit(null);
  } catch (error) {
    if (!(error instanceof GroupMistake)) throw error;
    return each(error.batches, commit, giveUp);
  }
}

async function each(
  batches: readonly string[],
  commit: (only: string) => Promise<GroupAnswer>,
  giveUp: (batch: string, mistake: GroupMistake) => Promise<GroupAnswer>,
): Promise<GroupAnswer> {
  const answers: GroupAnswer[] = [];
  for (const batch of batches) {
    try {
      answers.push(await committed(batch, commit, giveUp));
    } catch (error) {
      // What was committed before is to be told; what is left is found again.
      if (answers.length === 0) throw error;
      break;
    }
  }
  return together(answers);
}

async function committed(
  batch: string,
  commit: (only: string) => Promise<GroupAnswer>,
  giveUp: (batch: string, mistake: GroupMistake) => Promise<GroupAnswer>,
): Promise<GroupAnswer> {
  try {
    return await commit(batch);
  } catch (error) {
    if (!(error instanceof GroupMistake)) throw error;
    return giveUp(batch, error);
  }
}

function together(answers: readonly GroupAnswer[]): GroupAnswer {
  return {
    ended: answers.flatMap(({ ended }) => ended),
    effects: answers.flatMap(({ effects }) => effects),
    batches: answers.reduce((sum, { batches }) => sum + batches, 0),
    operations: answers.reduce((sum, { operations }) => sum + operations, 0),
    more: true,
    poolsBelowMinimum: [...new Set(answers.flatMap(({ poolsBelowMinimum }) => poolsBelowMinimum))],
    mistakes: answers.flatMap(({ mistakes }) => mistakes),
  };
}
