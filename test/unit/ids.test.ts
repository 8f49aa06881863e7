import test from 'ava';
import fc from 'fast-check';
import { isId, newId, newSerial, wwidOf } from '../../src/domain/ids.ts';

test('an id is its prefix and 26 digits without a dash', (t) => {
  t.regex(newId('vol'), /^vol_[0-9A-HJKMNP-TV-Z]{26}$/);
  t.true(isId(newId('vol')));
  t.false(isId('data'));
  t.throws(() => newId('a-b'), { message: /id-prefix/ });
});

test('ids of one process rise strictly, whatever the clock does', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 2 ** 44 }), { minLength: 2, maxLength: 50 }), (times) => {
        const ids = times.map((ms) => newId('op', ms));
        return ids.every((id, n) => n === 0 || (ids[n - 1] ?? '') < id);
      }),
    ),
  );
});

test('a hundred thousand ids of one millisecond are sorted and unique', (t) => {
  const now = Date.now() + 1000 * 86_400 * 365 * 1000;
  const ids = Array.from({ length: 100_000 }, () => newId('op', now));
  t.is(new Set(ids).size, ids.length);
  t.true(ids.every((id, n) => n === 0 || (ids[n - 1] ?? '') < id));
});

test('the WWID is the designator that LIO makes of the serial', (t) => {
  t.is(wwidOf('0123456789abcdef0123456789abcdef'), 'naa.60014050123456789abcdef012345678');
});

test('WWIDs are well formed for serials and for any other text', (t) => {
  t.regex(wwidOf(newSerial()), /^naa\.6[0-9a-f]{31}$/);
  t.notThrows(() => fc.assert(fc.property(fc.string(), (text) => /^naa\.6[0-9a-f]{31}$/.test(wwidOf(text)))));
  t.not(wwidOf('a'), wwidOf('b'));
  t.regex(newSerial(), /^[0-9a-f]{32}$/);
});
