/**
 * Request parts against their schemas: bodies as they are; parameters, which are always text, converted first. Headers
 * are documented by their schema and parsed where they are used.
 */
import type { FastifySchemaCompiler, RouteOptions } from 'fastify';
import { type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';
import { Failure } from '../domain/errors.ts';
import { SchemaCheck } from '../operations/schema-check.ts';
import { Refused } from './problem.ts';

type Checked = { readonly value: unknown } | { readonly error: Error };

export const compileValidator: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  if (httpPart === 'headers') return acceptAny;
  const check = new SchemaCheck<unknown>(schema);
  if (httpPart === 'body') return (value: unknown) => (value === null ? missingBody() : checked(check, value));
  return (value: unknown) => checked(check, Value.Convert(schema, value));
};

const noQuery = Type.Object({}, { additionalProperties: false });

/** A hook for routes: where the API knows no query, one is refused; ignored, a `force` would be taken for heeded. */
export function closeQuery(route: RouteOptions): void {
  if (route.schema === undefined || !route.url.startsWith('/v1/')) return;
  route.schema = { ...route.schema, querystring: route.schema.querystring ?? noQuery };
}

/** For routes whose handler parses the body by itself: the schema is documentation there. */
export const compileParametersOnly: FastifySchemaCompiler<TSchema> = (route) => {
  return route.httpPart === 'body' ? acceptAny : compileValidator(route);
};

function missingBody(): Checked {
  const detail = 'body: nothing was sent; a JSON object is needed.';
  return { error: new Refused(new Failure('invalid-request', detail, { field: 'body' })) };
}

function acceptAny(value: unknown): Checked {
  return { value };
}

function checked(check: SchemaCheck<unknown>, value: unknown): Checked {
  try {
    return { value: check.check(value) };
  } catch (error) {
    if (error instanceof Failure) return { error: new Refused(error) };
    throw error;
  }
}
