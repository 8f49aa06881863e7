/** Pages of lists: what a request states, and what the store is asked. */
import { type TProperties, Type } from 'typebox';
import { limits } from '../config/limits.ts';
import type { PageRequest } from '../store/store.ts';

const pageFields = {
  pageSize: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: limits.pageSizeMax,
      description: `Most resources to answer with; ${limits.pageSizeDefault} when absent.`,
      examples: [100],
    }),
  ),
  pageToken: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: limits.urlParameterLength,
      pattern: '^[!-~]+$',
      description: '`nextPageToken` of the page before.',
    }),
  ),
};

/** The query of a list: pages, and the filters that the list knows. */
export function listQuery<T extends TProperties>(filters: T) {
  return Type.Object({ ...pageFields, ...filters }, { additionalProperties: false });
}

interface PageQuery {
  readonly pageSize?: number;
  readonly pageToken?: string;
}

export function pageRequest(query: PageQuery): PageRequest {
  return { pageSize: query.pageSize ?? limits.pageSizeDefault, pageToken: query.pageToken ?? null };
}

export function filterField(description: string, ...examples: string[]) {
  const rules = { minLength: 1, maxLength: limits.urlParameterLength, pattern: '^[^\\u0000-\\u001f\\u007f]+$' };
  return Type.Optional(Type.String({ ...rules, description, examples }));
}

export function filterOneOf<const T extends string>(values: readonly T[], description: string) {
  return Type.Optional(Type.Unsafe<T>({ type: 'string', enum: [...values], description, examples: [values[0]] }));
}

/** Path parameters: the name or id of a resource. */
export function pathParameter<const K extends string>(key: K, description: string, example: string) {
  const rules = { minLength: 1, maxLength: limits.urlParameterLength, pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$' };
  const field = Type.String({ ...rules, description, examples: [example] });
  const fields = { [key]: field } as { [P in K]: typeof field };
  return Type.Object(fields, { additionalProperties: false });
}
