/**
 * Requests of every sort, drawn from the OpenAPI document: right ones, nearly right ones, and garbage.
 *
 * The event stream is left out: its answer does not end.
 */
import fc from 'fast-check';
import type { Asked } from './api.ts';

export interface RandomRequest {
  readonly method: Asked['method'];
  readonly url: string;
  readonly payload: string | null;
  readonly headers: Readonly<Record<string, string>>;
}

type Schema = Readonly<Record<string, unknown>>;

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly schema: Schema;
}

interface Endpoint {
  readonly method: Asked['method'];
  readonly path: string;
  readonly parameters: readonly Parameter[];
  readonly body: Schema | null;
}

const names = ['a', 'b', 'fast', 'data', 'node1', 'local', 'gold'];
const wwpns = ['20000002000000a0', '0x50000002000000B0', '50:00:00:02:00:00:00:b1', '3000000000000000', 'nope'];
const texts = fc.oneof(
  fc.constantFrom(...names),
  fc.constantFrom(...wwpns, '1GiB', '10GiB', '-1', '', ' ', '\u0000', '..', '__proto__', 'constructor', '\ud800'),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constant('x'.repeat(300)),
);
const junk: fc.Arbitrary<unknown> = fc.oneof(
  texts,
  fc.constantFrom(null, true, false, 0, -1, 1.5, 1e300, 2 ** 53, 2 ** 31, [], {}, [[]], { a: 1 }),
  fc.jsonValue({ maxDepth: 3 }),
);

/** `tokens`: bearer tokens to draw from, besides none and a foreign one. */
export function randomRequests(document: object, tokens: readonly string[]): fc.Arbitrary<RandomRequest> {
  const endpoints = endpointsOf(document);
  return fc.constantFrom(...endpoints).chain((endpoint) => requestTo(endpoint, tokens));
}

function endpointsOf(document: object): Endpoint[] {
  const paths = Object.entries(field(document, 'paths')).filter(([path]) => path !== '/v1/events');
  return paths.flatMap(([path, item]) =>
    Object.entries(item as object).map(([method, operation]) => ({
      method: method.toUpperCase() as Asked['method'],
      path,
      parameters: (field(operation as object, 'parameters') as readonly Parameter[]) ?? [],
      body: bodyOf(operation as object),
    })),
  );
}

function bodyOf(operation: object): Schema | null {
  const content = field(field(operation, 'requestBody'), 'content');
  return (field(field(content, 'application/json'), 'schema') as Schema | undefined) ?? null;
}

function field(value: unknown, name: string): object {
  return (Object(value) as Record<string, object>)[name] as object;
}

function requestTo(endpoint: Endpoint, tokens: readonly string[]): fc.Arbitrary<RandomRequest> {
  return fc
    .record({ url: urlOf(endpoint), payload: payloadOf(endpoint.body), headers: headersFor(tokens) })
    .map(({ url, payload, headers }) => {
      const typed = payload === null ? {} : { 'content-type': 'application/json' };
      return { method: endpoint.method, url, payload, headers: { ...typed, ...headers } };
    });
}

function urlOf(endpoint: Endpoint): fc.Arbitrary<string> {
  const inPath = endpoint.parameters.filter((parameter) => parameter.in === 'path');
  const inQuery = endpoint.parameters.filter((parameter) => parameter.in === 'query');
  const path = fc
    .tuple(...inPath.map(() => mostly(fc.constantFrom(...names), texts)))
    .map((values) =>
      inPath.reduce(
        (text, { name }, index) => text.replace(`{${name}}`, encoded(String(values[index] ?? 'a'))),
        endpoint.path,
      ),
    );
  const query = fc.tuple(...inQuery.map(({ schema }) => fc.option(mostly(valid(schema), junk), { nil: undefined })));
  const extra = seldom(texts, 12, undefined);
  return fc.tuple(path, query, extra).map(([text, values, unknown]) => {
    const stated = inQuery.flatMap(({ name }, index) =>
      values[index] === undefined ? [] : [`${name}=${encoded(asText(values[index]))}`],
    );
    if (unknown !== undefined) stated.push(`unknown=${encoded(unknown)}`);
    return stated.length === 0 ? text : `${text}?${stated.join('&')}`;
  });
}

function asText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** A lone surrogate has no encoding; a server sees what a client made of it. */
function encoded(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

function payloadOf(schema: Schema | null): fc.Arbitrary<string | null> {
  if (schema === null) return seldom(fc.constantFrom('{}', 'null', '{'), 10, null);
  return fc.oneof(
    { weight: 5, arbitrary: nearly(schema).map((value) => JSON.stringify(value)) },
    { weight: 7, arbitrary: valid(schema).map((value) => JSON.stringify(value)) },
    { weight: 1, arbitrary: junk.map((value) => JSON.stringify(value)) },
    { weight: 1, arbitrary: fc.constantFrom('', '{', '[1,', '{"a":}', 'x', '{"__proto__":{"x":1}}', '\u0000') },
    { weight: 1, arbitrary: fc.constant(null) },
  );
}

function headersFor(tokens: readonly string[]): fc.Arbitrary<Readonly<Record<string, string>>> {
  const foreign = [`fcr_${'B'.repeat(43)}`, 'x', '', 'fcr_'];
  const [first = '', ...others] = tokens;
  const token = fc.oneof(
    { weight: 8, arbitrary: fc.constant(first) },
    { weight: 3, arbitrary: fc.constantFrom(first, ...others) },
    { weight: 1, arbitrary: fc.constantFrom(...foreign) },
  );
  const maybe = (...values: string[]) => seldom(fc.constantFrom(...values), 3, undefined);
  return fc
    .record({
      authorization: token.map((secret) => `Bearer ${secret}`),
      'idempotency-key': maybe('k1', 'k2', 'k3', 'ü', ' ', 'k'.repeat(300)),
      'if-match': maybe('"1"', '"2"', '*', 'W/"1"', 'x', '"99999999999999999999"'),
      prefer: mostly(fc.constantFrom('respond-async', 'wait=1', 'wait=0'), fc.constantFrom('wait=x', '')),
      'content-type': seldom(
        fc.constantFrom('text/plain', 'application/xml', 'application/json; charset=x'),
        20,
        undefined,
      ),
    })
    .map((headers) => {
      const stated: Record<string, string> = {};
      for (const [name, value] of Object.entries(headers)) if (value !== undefined) stated[name] = value;
      return stated;
    });
}

/** Once in so many times; else `none`. */
function seldom<A, N>(what: fc.Arbitrary<A>, oneIn: number, none: N): fc.Arbitrary<A | N> {
  return fc.oneof({ weight: oneIn - 1, arbitrary: fc.constant(none) }, { weight: 1, arbitrary: what });
}

function mostly<A, B>(right: fc.Arbitrary<A>, wrong: fc.Arbitrary<B>): fc.Arbitrary<A | B> {
  return fc.oneof({ weight: 5, arbitrary: right }, { weight: 1, arbitrary: wrong });
}

/** Of the right form, but with a field too many, too few, or with another value. */
function nearly(schema: Schema): fc.Arbitrary<unknown> {
  return fc
    .tuple(valid(schema), fc.array(fc.tuple(fc.nat(), junk, fc.nat({ max: 3 })), { maxLength: 2 }))
    .map((drawn) => {
      const [value, changes] = drawn;
      return changes.reduce<unknown>((object, [place, other, sort]) => mutated(object, place, other, sort), value);
    });
}

function mutated(value: unknown, place: number, other: unknown, sort: number): unknown {
  if (Array.isArray(value)) {
    const at = value.length === 0 ? 0 : place % value.length;
    return value.map((item, index) => (index === at ? mutated(item, place, other, sort) : item));
  }
  if (typeof value !== 'object' || value === null) return other;
  const keys = Object.keys(value);
  const key = keys[place % Math.max(1, keys.length)] ?? 'name';
  if (sort === 0) return { ...value, unknownField: other };
  if (sort === 1) return Object.fromEntries(Object.entries(value).filter(([name]) => name !== key));
  if (sort === 2) return { ...value, [key]: other };
  return { ...value, [key]: mutated(Reflect.get(value, key), place + 1, other, sort) };
}

function valid(schema: Schema): fc.Arbitrary<unknown> {
  if ('const' in schema) return fc.constant(schema.const);
  if (Array.isArray(schema.enum)) return fc.constantFrom(...schema.enum);
  if (Array.isArray(schema.oneOf)) return fc.oneof(...schema.oneOf.map((one: Schema) => valid(one)));
  const types = Array.isArray(schema.type) ? schema.type : [schema.type];
  return fc.oneof(...types.map((type: unknown) => validOf(type, schema)));
}

function validOf(type: unknown, schema: Schema): fc.Arbitrary<unknown> {
  if (type === 'null') return fc.constant(null);
  if (type === 'boolean') return fc.boolean();
  if (type === 'integer') return fc.oneof(fc.constantFrom(1, 2, 2 ** 30), fc.integer(bounds(schema)));
  if (type === 'array') return fc.array(valid(Object(schema.items)), { minLength: 1, maxLength: 3 });
  if (type === 'object') return validObject(schema);
  const isWwpn = /hex digits/.test(String(schema.description));
  const examples = Array.isArray(schema.examples) ? schema.examples.filter((one) => typeof one === 'string') : [];
  return fc.constantFrom(...(isWwpn ? wwpns.slice(0, 3) : names), ...examples);
}

function bounds(schema: Schema): { min: number; max: number } {
  return { min: Number(schema.minimum ?? 0), max: Math.min(Number(schema.maximum ?? 1000), 2 ** 31 - 1) };
}

function validObject(schema: Schema): fc.Arbitrary<unknown> {
  const properties = Object.entries(Object(schema.properties)) as [string, Schema][];
  const required = Array.isArray(schema.required) ? schema.required : [];
  if (properties.length === 0) return fc.constantFrom({}, { app: 'db' });
  const arbitraries = Object.fromEntries(properties.map(([name, inner]) => [name, valid(inner)]));
  return fc.record(arbitraries, { requiredKeys: required });
}
