import test from 'ava';
import {
  declaredDependencies,
  documentedDependencies,
  generatedParts,
  packageImports,
  withPart,
} from './generated-docs.ts';
import { readText } from './source-tree.ts';

for (const part of generatedParts()) {
  test(`${part.document} shows ${part.name} as the code has it (npm run docs writes it)`, (t) => {
    const document = readText(part.document);
    t.is(withPart(document, part), document);
  });
}

test('docs/DEPENDENCIES.md lists exactly what package.json declares, with the versions', (t) => {
  const documented = documentedDependencies().map(({ name, version }) => ({ name, version }));
  t.deepEqual(
    documented.sort((a, b) => (a.name < b.name ? -1 : 1)),
    declaredDependencies(),
  );
});

test('every dependency has its reason', (t) => {
  const unreasoned = documentedDependencies().filter((dependency) => dependency.reason.length < 10);
  t.deepEqual(unreasoned, []);
});

/** Tests drive the real servers, and check what the product shows, with the product's own dependencies. */
function mayImport(importers: readonly string[], file: string): boolean {
  return /^(?:test|bench)\//.test(file) || importers.some((prefix) => file.startsWith(prefix));
}

test('a dependency is imported by its documented importer only', (t) => {
  const importers = new Map(documentedDependencies().map(({ name, importers }) => [name, importers]));
  const strays = packageImports().filter(({ file, target }) => !mayImport(importers.get(target) ?? [], file));
  t.deepEqual(
    strays.map(({ file, line, target }) => `${file}:${line}: ${target} is not documented as imported here`),
    [],
  );
});

test('a package that is imported is declared', (t) => {
  const declared = new Set(declaredDependencies().map(({ name }) => name));
  const undeclared = packageImports().filter(({ target }) => !declared.has(target));
  t.deepEqual(undeclared, []);
});
