/**
 * The fields that requests are made of, as JSON schemas: what validates a request and what documents it are one thing.
 *
 * An optional field may also be null, which means the same as absent. Patterns here keep out what no store could hold
 * (control characters); the exact rules for names, sizes and port names are the domain's, applied after the schema.
 */
import { type TOptional, type TUnsafe, Type } from 'typebox';
import { limits } from '../config/limits.ts';

export interface FieldText {
  readonly description: string;
  readonly examples?: readonly unknown[];
}

const referencePattern = '^[A-Za-z0-9][A-Za-z0-9._-]*$';
const namespacePattern = '^[A-Za-z0-9][A-Za-z0-9._:/@-]*$';
const printablePattern = '^[^\\u0000-\\u001f\\u007f]*$';

const referenceRules = { minLength: 1, maxLength: limits.nameLength, pattern: referencePattern };
const namespaceRules = { minLength: 1, maxLength: limits.namespaceLength, pattern: namespacePattern };
const textRules = { maxLength: limits.textLength, pattern: printablePattern };

type Maybe<T> = TOptional<TUnsafe<T | null>>;

/** A new name; `parseName` has the only word. */
export function name(text: FieldText): TUnsafe<string> {
  const alphabet = `1 to ${limits.nameLength} letters, digits, dots, underscores and dashes, a letter or digit first.`;
  return Type.Unsafe<string>({ type: 'string', ...text, description: `${text.description} ${alphabet}` });
}

/** The name or the id of something that is there. */
export function reference(text: FieldText): TUnsafe<string> {
  return Type.Unsafe<string>({ type: 'string', ...referenceRules, ...text });
}

export function maybeReference(text: FieldText): Maybe<string> {
  return Type.Optional(Type.Unsafe<string | null>({ type: ['string', 'null'], ...referenceRules, ...text }));
}

/** The container that a flow or an attachment is for. */
export function maybeNamespace(text: FieldText): Maybe<string> {
  return Type.Optional(Type.Unsafe<string | null>({ type: ['string', 'null'], ...namespaceRules, ...text }));
}

export function text(words: FieldText): TUnsafe<string> {
  return Type.Unsafe<string>({ type: 'string', ...textRules, ...words });
}

export function maybeText(words: FieldText): Maybe<string> {
  return Type.Optional(Type.Unsafe<string | null>({ type: ['string', 'null'], ...textRules, ...words }));
}

/** Any spelling; `parseWwpn` has the last word. */
export function wwpn(text: FieldText): TUnsafe<string> {
  return Type.Unsafe<string>({ type: 'string', maxLength: 64, ...wwpnText(text) });
}

export function maybeWwpn(text: FieldText): Maybe<string> {
  return Type.Optional(Type.Unsafe<string | null>({ type: ['string', 'null'], maxLength: 64, ...wwpnText(text) }));
}

function wwpnText(text: FieldText): FieldText {
  const spelling = '16 hex digits, bare, after 0x or in pairs with colons.';
  return { examples: ['20:00:02:00:00:00:00:a0'], ...text, description: `${text.description} ${spelling}` };
}

/** Bytes as an integer, or a text with a unit such as `10GiB`; `parseByteCount` has the last word. */
export function size(text: FieldText): TUnsafe<number | string> {
  return Type.Unsafe<number | string>({ type: ['integer', 'string'], maxLength: 64, ...text });
}

export function maybeSize(text: FieldText): Maybe<number | string> {
  return Type.Optional(
    Type.Unsafe<number | string | null>({ type: ['integer', 'string', 'null'], maxLength: 64, ...text }),
  );
}

export interface Bounds {
  readonly minimum: number;
  readonly maximum: number;
}

export function integer(bounds: Bounds, text: FieldText): TUnsafe<number> {
  return Type.Unsafe<number>({ type: 'integer', ...bounds, ...text });
}

export function maybeInteger(bounds: Bounds, text: FieldText): Maybe<number> {
  return Type.Optional(Type.Unsafe<number | null>({ type: ['integer', 'null'], ...bounds, ...text }));
}

export function flag(text: FieldText): TUnsafe<boolean> {
  return Type.Unsafe<boolean>({ type: 'boolean', ...text });
}

export function maybeFlag(text: FieldText): Maybe<boolean> {
  return Type.Optional(Type.Unsafe<boolean | null>({ type: ['boolean', 'null'], ...text }));
}

export function oneOf<const T extends string>(values: readonly T[], text: FieldText): TUnsafe<T> {
  return Type.Unsafe<T>({ type: 'string', enum: [...values], ...text });
}

export function maybeOneOf<const T extends string>(values: readonly T[], text: FieldText): Maybe<T> {
  return Type.Optional(Type.Unsafe<T | null>({ type: ['string', 'null'], enum: [...values, null], ...text }));
}

export function maybeLabels(text: FieldText): Maybe<Record<string, string>> {
  const values = { type: 'string', maxLength: limits.labelValueLength };
  const rules = { type: ['object', 'null'], maxProperties: limits.labelCount, additionalProperties: values };
  return Type.Optional(Type.Unsafe<Record<string, string> | null>({ ...rules, examples: [{ app: 'db' }], ...text }));
}
