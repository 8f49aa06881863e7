import test from 'ava';
import fc from 'fast-check';
import { holdsUnstorableText } from '../../src/http/unstorable-text.ts';

test('NUL and half a surrogate pair are found in values and in keys, at any depth', (t) => {
  for (const bad of ['\u0000', 'a\ud800', '\udc00b']) {
    t.true(holdsUnstorableText(JSON.stringify({ a: [{ b: bad }] })));
    t.true(holdsUnstorableText(JSON.stringify({ a: { [bad]: 1 } })));
  }
});

test('whole pairs, other escapes and escaped backslashes pass', (t) => {
  t.false(holdsUnstorableText('{"a":"\\ud83d\\ude00"}'));
  t.false(holdsUnstorableText('{"a":"\\u00e9\\n"}'));
  t.false(holdsUnstorableText('{"a":"\\\\u0000"}'));
});

test('what is no JSON is left to the parser', (t) => {
  t.false(holdsUnstorableText('{"a":"\\u0000'));
});

test('text is found to be unstorable exactly when it is', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      return holdsUnstorableText(JSON.stringify([text])) === (text.includes('\u0000') || !text.isWellFormed());
    }),
  );
  t.pass();
});
