/** Errors that came after another one, which is the one to tell: closing what a failed start had opened, for example. */

/** The first one as it is, with the later ones kept on it. */
export function withSuppressed(first: unknown, later: readonly unknown[]): unknown {
  if (later.length === 0) return first;
  if (!(first instanceof Error)) return new AggregateError([first, ...later], String(first));
  return Object.assign(first, { suppressed: [...suppressedOf(first), ...later] });
}

export function suppressedOf(error: unknown): readonly unknown[] {
  if (!(error instanceof Error) || !('suppressed' in error)) return [];
  return Array.isArray(error.suppressed) ? error.suppressed : [];
}
