import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'ava';
import { filesUnder, projectRoot, readText, type SourceFile } from './source-tree.ts';

function documents(): readonly SourceFile[] {
  const inDocs = filesUnder('docs').filter(({ path }) => path.endsWith('.md'));
  const atTop = ['README.md', 'CHANGELOG.md'].map((path) => ({ path, lines: readText(path).split('\n') }));
  return [...atTop, ...inDocs];
}

/** As GitHub makes a heading's anchor. */
function anchorsOf(path: string): readonly string[] {
  const headings = readText(path).matchAll(/^#+ (.+)$/gm);
  return [...headings].map(([, text = '']) =>
    text
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

function isBroken(from: string, link: string): boolean {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? from : join(dirname(from), path);
  if (!existsSync(join(projectRoot, target))) return true;
  return anchor !== undefined && !anchorsOf(target).includes(anchor);
}

test('links between the documents lead somewhere', (t) => {
  const links = documents().flatMap(({ path, lines }) =>
    [...lines.join('\n').matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => ({ path, link })),
  );
  const inside = links.filter(({ link }) => !/^https?:/.test(link));
  t.true(inside.length > 10);
  t.deepEqual(
    inside.filter(({ path, link }) => isBroken(path, link)),
    [],
  );
});

const places = ['', 'src', 'test', 'src/store/kysely', 'test/api'];

test('source files that the documents name are there', (t) => {
  const named = documents().flatMap(({ path, lines }) =>
    [...lines.join('\n').matchAll(/`([a-z][\w/.-]*\.ts)`/g)].map(([, file = '']) => ({ path, file })),
  );
  t.true(named.length > 10);
  t.deepEqual(
    named.filter(({ file }) => !places.some((place) => existsSync(join(projectRoot, place, file)))),
    [],
  );
});
