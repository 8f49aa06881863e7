/**
 * What answers are made of. A resource's schema is tied to its domain type: it documents the answer and serialises it,
 * and a field that it does not name never leaves the process.
 */
import { type TUnsafe, Type } from 'typebox';

export interface Words {
  readonly description: string;
  readonly examples?: readonly unknown[];
}

type FieldSchema = Readonly<Record<string, unknown>>;
type Fields<T> = { readonly [K in keyof T]-?: FieldSchema };

const anyWwpn = '20:00:02:00:00:00:00:a0';

export const text = (description: string, ...examples: string[]): FieldSchema => ({
  type: 'string',
  ...words(description, examples),
});
export const textOrNull = (description: string, ...examples: (string | null)[]): FieldSchema => ({
  type: ['string', 'null'],
  ...words(description, examples),
});
export const integer = (description: string, ...examples: number[]): FieldSchema => ({
  type: 'integer',
  ...words(description, examples),
});
export const integerOrNull = (description: string, ...examples: (number | null)[]): FieldSchema => ({
  type: ['integer', 'null'],
  ...words(description, examples),
});
export const flag = (description: string): FieldSchema => ({ type: 'boolean', ...words(description, [true]) });
export const oneOf = (values: readonly string[], description: string): FieldSchema => ({
  type: 'string',
  enum: [...values],
  ...words(description, values.slice(0, 1)),
});
export const oneOfOrNull = (values: readonly string[], description: string): FieldSchema => ({
  type: ['string', 'null'],
  enum: [...values, null],
  ...words(description, values.slice(0, 1)),
});
export const wwpn = (description: string): FieldSchema => text(description, anyWwpn);
export const wwpnOrNull = (description: string): FieldSchema => textOrNull(description, anyWwpn);
export const instant = (description: string): FieldSchema =>
  integer(`${description}, in milliseconds since 1970-01-01 UTC.`, 1767225600000);
export const instantOrNull = (description: string): FieldSchema =>
  integerOrNull(`${description}, in milliseconds since 1970-01-01 UTC.`, 1767225600000, null);
export const labels = (description: string): FieldSchema => ({
  type: 'object',
  additionalProperties: { type: 'string' },
  ...words(description, [{ app: 'db' }]),
});
export const listOf = (items: FieldSchema, description: string): FieldSchema => ({
  type: 'array',
  items,
  description,
});

function words(description: string, examples: readonly unknown[]): FieldSchema {
  return examples.length === 0 ? { description } : { description, examples };
}

/** An object inside a resource. `optional` names the fields that may be absent. */
export function object<T>(
  description: string,
  fields: Fields<T>,
  optional: readonly (keyof T & string)[] = [],
): FieldSchema {
  const all: readonly string[] = Object.keys(fields);
  const required = all.filter((name) => !optional.some((absent) => absent === name));
  return { type: 'object', description, additionalProperties: false, required, properties: fields };
}

export function objectOrNull<T>(description: string, fields: Fields<T>): FieldSchema {
  return { ...object<T>(description, fields), type: ['object', 'null'] };
}

/** A schema with a name of its own in the document; others point at it with `refer`. */
export function named<T>(id: string, schema: FieldSchema): NamedSchema<T> {
  return Object.assign(Type.Unsafe<T>({ $id: id, ...schema }), { $id: id });
}

export type NamedSchema<T> = TUnsafe<T> & { readonly $id: string };

export function refer<T>(schema: NamedSchema<T>): TUnsafe<T> {
  return Type.Unsafe<T>({ $ref: `${schema.$id}#` });
}

export interface PageOf<T> {
  readonly items: readonly T[];
  readonly nextPageToken: string | null;
}

export function pageOf<T>(item: NamedSchema<T>): NamedSchema<PageOf<T>> {
  const description = `One page of ${item.$id} resources.`;
  return named<PageOf<T>>(
    `${item.$id}Page`,
    object<PageOf<T>>(description, {
      items: listOf({ $ref: `${item.$id}#` }, 'The resources of this page.'),
      nextPageToken: textOrNull('Send it as `pageToken` for the next page; null on the last one.', null),
    }),
  );
}
