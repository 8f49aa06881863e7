/**
 * A JSON schema as a check of something that came from outside.
 *
 * Relies on the schema being closed (unknown fields refused). What passes has the schema's shape, nothing more: sizes,
 * port names and names are parsed by the domain afterwards. What fails is told with field, value and what is accepted;
 * an answer without the field's name would leave a client guessing.
 */
import type { TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { Failure } from '../domain/errors.ts';

/** One way in which a value misses its schema; `instancePath` is a JSON pointer to the value. */
interface SchemaError {
  readonly keyword: string;
  readonly instancePath: string;
  readonly params: object;
  readonly message: string;
}

const shownLength = 80;

export class SchemaCheck<T> {
  readonly #validator: ReturnType<typeof Compile>;

  constructor(schema: TSchema) {
    this.#validator = Compile(schema);
  }

  accepts(value: unknown): value is T {
    return this.#validator.Check(value);
  }

  /** Throws `invalid-request`. `fieldPrefix` stands before every field's name, e.g. `operations[3].params.`. */
  check(value: unknown, fieldPrefix = ''): T {
    if (this.accepts(value)) return value;
    throw failureOf([...this.#validator.Errors(value)], value, fieldPrefix);
  }
}

function failureOf(errors: readonly SchemaError[], value: unknown, fieldPrefix: string): Failure {
  const worst = unknownField(errors) ?? firstTelling(errors);
  if (worst === undefined) return new Failure('invalid-request', 'The request does not have the accepted form.');
  const field = fieldOf(worst, fieldPrefix);
  return new Failure('invalid-request', sentence(worst, field, valueAt(value, worst.instancePath)), { field });
}

/** An unknown field is a value that the schema `false` refused; other extra fields have an error of their own. */
function unknownField(errors: readonly SchemaError[]): SchemaError | undefined {
  if (!errors.some((error) => error.keyword === 'boolean')) return undefined;
  return errors.find((error) => error.keyword === 'additionalProperties');
}

function firstTelling(errors: readonly SchemaError[]): SchemaError | undefined {
  return errors.find((error) => error.keyword !== 'boolean' && error.keyword !== 'additionalProperties') ?? errors[0];
}

function fieldOf(error: SchemaError, fieldPrefix: string): string {
  const parent = dotted(error.instancePath);
  const child = blamedChild(error);
  const path = child === undefined ? parent : parent === '' ? child : `${parent}.${child}`;
  if (path === '') return fieldPrefix === '' ? 'body' : fieldPrefix.replace(/\.$/, '');
  return `${fieldPrefix}${path}`.replaceAll('.[', '[');
}

function blamedChild(error: SchemaError): string | undefined {
  const names = listOf(error.params, 'additionalProperties') ?? listOf(error.params, 'requiredProperties');
  return names?.[0]?.slice(0, shownLength);
}

function sentence(error: SchemaError, field: string, value: unknown): string {
  if (error.keyword === 'additionalProperties') return `${field} is not a known field.`;
  if (error.keyword === 'required') return `${field} is missing.`;
  return `${field}: ${shown(value)} is refused; it ${accepted(error)}.`;
}

function accepted(error: SchemaError): string {
  const values = listOf(error.params, 'allowedValues');
  if (values === undefined) return error.message;
  return `must be one of ${values.map((allowed) => JSON.stringify(allowed)).join(', ')}`;
}

function listOf(params: object, key: string): readonly string[] | undefined {
  const found: unknown = Object.entries(params).find(([name]) => name === key)?.[1];
  return Array.isArray(found) ? found : undefined;
}

/** `/operations/3/params/name` -> `operations[3].params.name` */
function dotted(pointer: string): string {
  return segments(pointer).reduce((path, segment) => {
    if (/^\d+$/.test(segment)) return `${path}[${segment}]`;
    return path === '' ? segment : `${path}.${segment}`;
  }, '');
}

function segments(pointer: string): string[] {
  const raw = pointer.split('/').slice(1);
  return raw.map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~').slice(0, shownLength));
}

function valueAt(value: unknown, pointer: string): unknown {
  return segments(pointer).reduce<unknown>((at, segment) => {
    return typeof at === 'object' && at !== null ? Object.getOwnPropertyDescriptor(at, segment)?.value : undefined;
  }, value);
}

function shown(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object' && value !== null) return 'an object';
  return JSON.stringify(typeof value === 'string' ? value.slice(0, shownLength) : value);
}
