/** What a shell sees of a failure: the one table from the catalogue's kinds to exit codes. */
import { type ErrorKind, errorCatalogue, type Problem } from '../../domain/errors.ts';

export const exitCodes = {
  success: 0,
  failure: 1,
  usage: 2,
  notFound: 3,
  conflict: 4,
  refused: 5,
  unavailable: 6,
  exhausted: 7,
} as const;

const byKind: Readonly<Record<ErrorKind, number>> = {
  invalid: exitCodes.usage,
  unprocessable: exitCodes.usage,
  'too-large': exitCodes.usage,
  'unsupported-media': exitCodes.usage,
  'not-found': exitCodes.notFound,
  conflict: exitCodes.conflict,
  'precondition-failed': exitCodes.conflict,
  'precondition-required': exitCodes.conflict,
  unauthenticated: exitCodes.refused,
  forbidden: exitCodes.refused,
  unavailable: exitCodes.unavailable,
  overloaded: exitCodes.unavailable,
  exhausted: exitCodes.exhausted,
  internal: exitCodes.failure,
};

export function exitCodeOf(problem: Problem): number {
  return byKind[errorCatalogue[problem.code].kind];
}

export const exitCodesHelp = `
Exit codes:
  0  it worked                      4  conflict: in use, held, changed meanwhile
  1  an internal error              5  refused: not authenticated, not allowed
  2  the request makes no sense     6  no answer, overloaded, or out of time
  3  there is no such thing         7  exhausted: pool, space, LUNs, a limit`;
