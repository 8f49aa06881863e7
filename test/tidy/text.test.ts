import test from 'ava';
import { limits } from '../../src/config/limits.ts';
import { codeUnder, filesUnder, readText, type SourceFile } from './source-tree.ts';

const lineLimit = 500;
const generated = /^(?:openapi|docs\/.*\.json)/;

test('no file holds more than can be held in the head', (t) => {
  const long = codeUnder('.').filter((file) => file.lines.length - 1 > lineLimit);
  t.deepEqual(
    long.map((file) => `${file.path}: ${file.lines.length - 1} lines, at most ${lineLimit}`),
    [],
  );
});

test('every limit is somewhere kept', (t) => {
  const code = codeUnder('src')
    .map(({ lines }) => lines.join('\n'))
    .join('\n');
  const kept = new Set(code.match(/\blimits\.\w+/g));
  t.deepEqual(
    Object.keys(limits).filter((name) => !kept.has(`limits.${name}`)),
    [],
  );
});

/** The project speaks of itself alone: of what it does and why, not of who was asked to write it or where. */
const forbidden: readonly (readonly [string, RegExp])[] = [
  ['a number of a tracker', /\bissues? +#?\d|\b(?:fixes|closes) #\d/i],
  ['a working session', /\bsessions?\b(?! (?:variable|setting|level))/i],
  ['a workplace path', /(?:^|[\s'"`(=:])\/[w]ork\/|\bshared\/(?:DESIGN|HAZARDS|FIELD|STYLE)\b/],
  ['a text outside the project', /\b(?:DESIGN|FIELD|STYLE)(?:\.md)?,? (?:section )?\d|\b(?:DESIGN|FIELD|STYLE)\.md\b/],
  ['a host of a package registry', /\bregistry\.(?!example\b)[a-z0-9-]+\.[a-z]{2,}/i],
];

function findings(file: SourceFile): string[] {
  return file.lines.flatMap((line, n) =>
    forbidden
      .filter(([, pattern]) => pattern.test(line))
      .map(([what]) => `${file.path}:${n + 1}: ${what}: ${line.trim()}`),
  );
}

test('the project speaks of itself alone', (t) => {
  const texts = filesUnder('.').filter((file) => !generated.test(file.path) && file.path !== 'test/tidy/text.test.ts');
  t.deepEqual(texts.flatMap(findings), []);
  t.true(texts.length > 50);
});

for (const line of [
  'see issue 7',
  'Closes #12',
  'in this session',
  `cd ${['', 'work', 'main'].join('/')}`,
  'FIELD 3',
  'DESIGN.md',
  ['registry', 'somebody', 'org'].join('.'),
]) {
  test(`the words "${line}" would be found`, (t) => {
    t.is(findings({ path: 'x', lines: [line] }).length, 1);
  });
}

test('a hazard that is named by its number is one of docs/HAZARDS.md', (t) => {
  const numbers = new Set([...readText('docs/HAZARDS.md').matchAll(/^## (\d+)\. /gm)].map((match) => match[1]));
  const named = filesUnder('src', 'native-bindings', 'migrations', 'test', 'bench').flatMap((file) =>
    [...file.lines.join('\n').matchAll(/\bhazards? (\d+)(?: and (\d+))?/gi)].flatMap(([, first, second]) =>
      [first, second].flatMap((number) => (number === undefined ? [] : [{ path: file.path, number }])),
    ),
  );
  t.deepEqual(
    named.filter(({ number }) => !numbers.has(number)),
    [],
  );
  t.is(numbers.size, 19);
});

const vagueNames = /(?:^|\/)(?:utils?|common|helpers?|types|misc)(?:\/|\.ts$)/;

test('no file or folder has a name that says nothing', (t) => {
  const vague = codeUnder('src', 'native-bindings', 'migrations', 'test', 'bench').map((file) => file.path);
  t.deepEqual(
    vague.filter((path) => vagueNames.test(path)),
    [],
  );
});
