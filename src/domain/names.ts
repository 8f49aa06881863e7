/**
 * What people may call things, and the labels they put on them.
 *
 * Names go into URLs, file names, tables and shell lines: the alphabet is what needs quoting in none of them. A name in
 * the shape of an id is refused, because a request that takes either could then mean two resources.
 */
import { limits } from '../config/limits.ts';
import { Failure } from './errors.ts';
import { isId } from './ids.ts';
import type { Labels } from './volume.ts';

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
const labelKeyPattern = /^[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this refuses
const controlPattern = /[\u0000-\u001f\u007f]/;

/** Throws `invalid-name`, which names the field, the value and what is accepted. */
export function parseName(value: unknown, field = 'name'): string {
  const acceptable = typeof value === 'string' && namePattern.test(value) && value.length <= limits.nameLength;
  if (acceptable && !isId(value)) return value;
  const why = acceptable
    ? 'it has the form of an id'
    : `accepted: 1 to ${limits.nameLength} of letters, digits, dot, underscore and dash, a letter or digit first`;
  throw new Failure('invalid-name', `${field}: ${shown(value)} is not a name; ${why}.`, { field });
}

/** Null and absent are no labels. Keys are sorted, so that equal labels are equal JSON. Throws `invalid-request`. */
export function parseLabels(value: unknown, field = 'labels'): Labels {
  if (value === undefined || value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) throw invalid(field, 'an object of strings is accepted');
  const entries = Object.entries(value);
  if (entries.length > limits.labelCount) throw invalid(field, `at most ${limits.labelCount} labels are accepted`);
  const parsed = entries.map(([key, text]) => [parseLabelKey(key, field), parseLabelValue(text, `${field}.${key}`)]);
  return Object.fromEntries(parsed.sort(([a = ''], [b = '']) => (a < b ? -1 : 1)));
}

function parseLabelKey(key: string, field: string): string {
  if (labelKeyPattern.test(key) && key.length <= limits.labelKeyLength) return key;
  const alphabet = 'letters, digits, dot, underscore, slash and dash, a letter or digit at both ends';
  throw invalid(field, `the key ${shown(key)} is refused; accepted: 1 to ${limits.labelKeyLength} of ${alphabet}`);
}

function parseLabelValue(text: unknown, field: string): string {
  if (typeof text !== 'string') throw invalid(field, 'a string is accepted');
  if (text.length > limits.labelValueLength) throw invalid(field, `at most ${limits.labelValueLength} characters`);
  if (controlPattern.test(text)) throw invalid(field, 'control characters are refused');
  return text;
}

function invalid(field: string, why: string): Failure {
  return new Failure('invalid-request', `${field}: ${why}.`, { field });
}

function shown(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 64)) : String(value).slice(0, 64);
}
