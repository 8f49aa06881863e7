import test from 'ava';
import fc from 'fast-check';
import { limits } from '../../src/config/limits.ts';
import { Failure } from '../../src/domain/errors.ts';
import { newId } from '../../src/domain/ids.ts';
import { parseLabels, parseName } from '../../src/domain/names.ts';

test('every name of the alphabet within the length is taken as it is', (t) => {
  const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/);
  t.notThrows(() => fc.assert(fc.property(name, (text) => parseName(text) === text)));
});

for (const value of [
  '',
  '.hidden',
  '-flag',
  '_x',
  'a b',
  'a/b',
  'ä',
  'a\n',
  'x'.repeat(limits.nameLength + 1),
  undefined,
  5,
]) {
  test(`${JSON.stringify(value) ?? 'undefined'} is refused as a name`, (t) => {
    const error = t.throws(() => parseName(value, 'pool'), { instanceOf: Failure });
    t.is(error.code, 'invalid-name');
    t.is(error.problem.field, 'pool');
  });
}

test('a name in the form of an id is refused, because it could mean two resources', (t) => {
  t.regex(t.throws(() => parseName(newId('vol'))).message, /form of an id/);
});

test('labels come back sorted, and none are no labels', (t) => {
  t.is(JSON.stringify(parseLabels({ b: '2', 'a/b.c': '' })), '{"a/b.c":"","b":"2"}');
  t.deepEqual(parseLabels(null), {});
  t.deepEqual(parseLabels(undefined), {});
});

const refused: readonly (readonly [string, unknown])[] = [
  ['a list', ['a']],
  ['a text', 'a=b'],
  ['a number as a value', { a: 1 }],
  ['a key with an equals sign', { 'a=b': '' }],
  ['an empty key', { '': '' }],
  ['a prototype key', JSON.parse('{"__proto__":"x"}')],
  ['a control character', { a: '\u0007' }],
  ['a long key', { ['k'.repeat(limits.labelKeyLength + 1)]: '' }],
  ['a long value', { a: 'v'.repeat(limits.labelValueLength + 1) }],
  ['too many', Object.fromEntries(Array.from({ length: limits.labelCount + 1 }, (_, n) => [`k${n}`, '']))],
];
for (const [what, value] of refused) {
  test(`labels with ${what} are refused`, (t) => {
    t.is(t.throws(() => parseLabels(value), { instanceOf: Failure }).code, 'invalid-request');
  });
}
