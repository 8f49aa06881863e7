import test from 'ava';
import { ladderViolation } from './import-ladder.ts';
import { codeUnder, importsOf } from './source-tree.ts';

test('every import goes down the ladder', (t) => {
  const imports = codeUnder('src', 'native-bindings', 'migrations').flatMap(importsOf);
  const violations = imports.flatMap((item) => {
    const rule = ladderViolation(item);
    return rule === null ? [] : [`${item.file}:${item.line}: ${item.target}: ${rule}`];
  });
  t.deepEqual(violations, []);
  t.true(imports.length > 50);
});

const planted: readonly (readonly [string, string, RegExp])[] = [
  ['src/domain/wwpn.ts', "import { x } from '../system/clock.ts';", /domain .* may not import ground/],
  ['src/store/store.ts', "export type { x } from '../operations/intake.ts';", /port .* may not import operations/],
  ['src/operations/intake.ts', "import { x } from '../store/kysely/store.ts';", /sees ports only/],
  ['src/backends/file/a.ts', "import type { x } from '../reflink/b.ts';", /adapters never import each other/],
  ['src/http/server.ts', "const x = await import('../frontends/cli/a.ts');", /edge .* may not import frontend/],
  ['src/host/linux/a.ts', "import koffi from 'koffi';", /koffi is imported under native-bindings only/],
  ['src/http/a.ts', "import { x } from '../../native-bindings/libc.ts';", /native-bindings are for/],
  ['src/system/x.ts', "new Worker(new URL('../http/a.ts', import.meta.url));", /ground .* may not import edge/],
  ['src/frontends/cli/a.ts', "import { x } from '../../store/store.ts';", /over REST/],
  ['src/common/a.ts', "import '../domain/wwpn.ts';", /no rung/],
];
for (const [path, line, rule] of planted) {
  test(`a planted import in ${path} is caught: ${rule.source}`, (t) => {
    const [item] = importsOf({ path, lines: ['', line] });
    t.is(item?.line, 2);
    t.regex(item === undefined ? '' : (ladderViolation(item) ?? ''), rule);
  });
}

test('a type of the store may be named by a frontend', (t) => {
  for (const line of [
    "import type { Page } from '../../store/store.ts';",
    "import { type A, type B } from '../../store/store.ts';",
  ]) {
    const [item] = importsOf({ path: 'src/frontends/cli/a.ts', lines: [line] });
    t.is(item === undefined ? 'none' : ladderViolation(item), null);
  }
});
