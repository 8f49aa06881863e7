/** ETag and If-Match: a resource's version as HTTP states it. */
import { Failure } from '../domain/errors.ts';

export function etagOf(resource: { readonly version: number }): string {
  return `"${resource.version}"`;
}

/** Null: no condition was stated, or `*`. Throws `invalid-request` for what is no ETag of ours. */
export function ifMatchVersion(header: string | undefined): number | null {
  if (header === undefined || header.trim() === '*') return null;
  const version = Number(/^"(\d{1,15})"$/.exec(header.trim())?.[1] ?? Number.NaN);
  if (Number.isSafeInteger(version)) return version;
  const detail = 'If-Match takes one ETag as the resource showed it, e.g. "3", or *.';
  throw new Failure('invalid-request', detail, { field: 'If-Match' });
}

/** For changes that could silently undo another's: `*` stands for the version that is there now. */
export async function requiredVersion(
  header: string | undefined,
  current: () => Promise<{ readonly version: number }>,
): Promise<number> {
  if (header === undefined) {
    const detail = 'State the version that you have seen: If-Match with its ETag.';
    throw new Failure('if-match-required', detail, { field: 'If-Match' });
  }
  return ifMatchVersion(header) ?? (await current()).version;
}
