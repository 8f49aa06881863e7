/**
 * Lists in pages: ordered by a unique key, continued behind the last key that was shown. A page token is that key, so
 * rows that come and go between two pages neither hide nor repeat others.
 */
import { Failure } from '../../domain/errors.ts';
import type { Page, PageRequest } from '../store.ts';

/** Keys are larger than ''. Throws `invalid-request` for a token that no page carried. */
export function keyBefore(page: PageRequest): string {
  if (page.pageToken === null) return '';
  const key = Buffer.from(page.pageToken, 'base64url').toString('utf8');
  // PostgreSQL takes no text with a NUL.
  if (key !== '' && !key.includes('\u0000') && tokenOf(key) === page.pageToken) return key;
  throw foreignToken();
}

/** The same for a list that is ordered by a number, newest first. */
export function positionBefore(pageToken: string): number {
  if (/^\d{1,15}$/.test(pageToken)) return Number(pageToken);
  throw foreignToken();
}

function foreignToken(): Failure {
  return new Failure('invalid-request', 'pageToken: not a token that a page of this list carried.', {
    field: 'pageToken',
  });
}

/** `found` holds up to one record more than a page does: that one tells that there is a next page. */
export function pageOf<R, T>(
  found: readonly R[],
  page: PageRequest,
  { key, show }: { readonly key: (record: R) => string; readonly show: (record: R) => T },
): Page<T> {
  const shown = found.slice(0, page.pageSize);
  const last = shown.at(-1);
  const more = found.length > page.pageSize && last !== undefined;
  return { items: shown.map(show), nextPageToken: more ? tokenOf(key(last)) : null };
}

function tokenOf(key: string): string {
  return Buffer.from(key, 'utf8').toString('base64url');
}
