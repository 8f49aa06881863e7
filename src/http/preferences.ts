/** The Prefer header (RFC 7240): how long a request waits for its operations. */
import { limits } from '../config/limits.ts';

export interface Preference {
  /** 0: answer as soon as the operations are durable. */
  readonly waitMs: number;
  /** What was honoured, for Preference-Applied. */
  readonly applied: string | null;
}

/** What is not understood is ignored, as the RFC wants it; waits are bounded by the product's limit. */
export function preferenceOf(header: string | readonly string[] | undefined): Preference {
  const stated = typeof header === 'string' ? header : (header ?? []).join(',');
  if (stated === '') return { waitMs: limits.waitMs, applied: null };
  const preferences = stated.split(',').map((preference) => preference.split(';')[0]?.trim().toLowerCase() ?? '');
  if (preferences.includes('respond-async')) return { waitMs: 0, applied: 'respond-async' };
  const seconds = preferences.map((preference) => /^wait\s*=\s*"?(\d{1,6})"?$/.exec(preference)?.[1]).find(Boolean);
  if (seconds === undefined) return { waitMs: limits.waitMs, applied: null };
  const waitMs = Math.min(Number(seconds) * 1000, limits.waitMs);
  return { waitMs, applied: `wait=${waitMs / 1000}` };
}
