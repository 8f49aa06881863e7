import test from 'ava';
import fc from 'fast-check';
import { Failure } from '../../src/domain/errors.ts';
import { isWwpn, parseWwpn, synthesizeWwpn } from '../../src/domain/wwpn.ts';

const digits = fc
  .tuple(fc.constantFrom('1', '2', '5', '6'), fc.stringMatching(/^[0-9a-f]{15}$/))
  .map(([naa, rest]) => naa + rest);

function colons(text: string): string {
  return (text.match(/../g) ?? []).join(':');
}

test('every spelling of a port name becomes the same normal form', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(digits, (bare) => {
        const normal = colons(bare);
        const spellings = [
          bare,
          bare.toUpperCase(),
          `0x${bare}`,
          `0X${bare.toUpperCase()}`,
          normal,
          normal.toUpperCase(),
        ];
        return spellings.every((text) => parseWwpn(text) === normal) && isWwpn(normal);
      }),
    ),
  );
});

test('the normal form is a fixed point', (t) => {
  t.is<string, string>(parseWwpn('0x20000200000000A0'), '20:00:02:00:00:00:00:a0');
  t.is<string, string>(parseWwpn(parseWwpn('0x20000200000000A0')), '20:00:02:00:00:00:00:a0');
});

for (const text of [
  '',
  '20',
  '20:00:02:00:00:00:00',
  '2000020000000g00',
  '20000200:000000a0',
  '0x20:00:02:00:00:00:00:a0',
  ' 20000200000000a0',
  null,
  7,
]) {
  test(`${JSON.stringify(text)} is refused as a port name`, (t) => {
    const error = t.throws(() => parseWwpn(text, 'initiatorWwpn'), { instanceOf: Failure });
    t.is(error.code, 'invalid-wwpn');
    t.is(error.problem.field, 'initiatorWwpn');
    t.true(error.message.startsWith('initiatorWwpn: '));
    t.regex(error.message, /accepted: /);
    t.false(isWwpn(text));
  });
}

test('a name under an NAA that names no port is refused, and the NAA is told', (t) => {
  for (const naa of [...'03478 9abcdef'.replace(' ', '')]) {
    const error = t.throws(() => parseWwpn(`${naa}000020000000001`), { instanceOf: Failure });
    t.true(error.message.includes(`its NAA is ${naa}`));
  }
});

test('a synthesized port over a MAC is NAA 2 with the MAC in it', (t) => {
  t.is<string, string>(synthesizeWwpn({ mac: '02:42:AC:11:00:02' }), '20:00:02:42:ac:11:00:02');
  t.is<string, string>(synthesizeWwpn({ mac: '02-42-ac-11-00-02', port: 0x123 }), '21:23:02:42:ac:11:00:02');
  t.throws(() => synthesizeWwpn({ mac: '00:00:00:00:00:00' }), { instanceOf: Failure });
  t.throws(() => synthesizeWwpn({ mac: '02:42' }), { instanceOf: Failure });
});

test('a seeded port is stable, valid and locally administered', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.string(), (seed) => {
        const wwpn = synthesizeWwpn({ seed });
        const first = Number.parseInt(wwpn.slice(6, 8), 16);
        return isWwpn(wwpn) && wwpn.startsWith('2') && wwpn === synthesizeWwpn({ seed }) && (first & 3) === 2;
      }),
    ),
  );
  t.not(synthesizeWwpn({ seed: 'a' }), synthesizeWwpn({ seed: 'b' }));
});
