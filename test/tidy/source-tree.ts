/** The project's own text files, as the tidy tests read them. Reads the disk, not the index: new files count at once. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';

export const projectRoot = fileURLToPath(new URL('../../', import.meta.url));

export interface SourceFile {
  /** Relative to the project, with slashes. */
  readonly path: string;
  readonly lines: readonly string[];
}

export interface Import {
  readonly file: string;
  readonly line: number;
  /** What is imported: a path relative to the project, or a package's name. */
  readonly target: string;
  readonly package: boolean;
  /** Only types: nothing of it is there at run time. */
  readonly typeOnly: boolean;
}

const codePattern = /\.(?:ts|sh|c)$/;
const skipped = new Set(['node_modules', '.git', 'dist', 'coverage', '.fcr']);

export function readText(path: string): string {
  return readFileSync(join(projectRoot, path), 'utf8');
}

export function filesUnder(...folders: readonly string[]): SourceFile[] {
  return folders.flatMap((folder) => pathsUnder(folder)).map((path) => ({ path, lines: readText(path).split('\n') }));
}

export function codeUnder(...folders: readonly string[]): SourceFile[] {
  return filesUnder(...folders).filter((file) => codePattern.test(file.path));
}

function pathsUnder(folder: string): string[] {
  return readdirSync(join(projectRoot, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = posix.join(folder, entry.name);
    if (skipped.has(entry.name)) return [];
    if (entry.isDirectory()) return pathsUnder(path);
    return entry.isFile() ? [path] : [];
  });
}

const statementPattern =
  /^(?:import|export)\b(?<clause>[^'"`;]*?)\bfrom\s*'(?<from>[^']+)'|^import\s*'(?<bare>[^']+)'/gm;
const expressionPattern = /\bimport\(\s*'(?<from>[^'$]+)'|\bnew URL\(\s*'(?<url>\.[^']+\.ts)'/g;

/** Static and dynamic imports and worker modules named by URL, with their lines. */
export function importsOf(file: SourceFile): Import[] {
  const text = file.lines.join('\n');
  const matches = [...text.matchAll(statementPattern), ...text.matchAll(expressionPattern)];
  return matches.map((match) => {
    const specifier = match.groups?.from ?? match.groups?.bare ?? match.groups?.url ?? '';
    const relative = specifier.startsWith('.');
    return {
      file: file.path,
      line: text.slice(0, match.index).split('\n').length,
      target: relative ? posix.join(posix.dirname(file.path), specifier) : packageOf(specifier),
      package: !relative,
      typeOnly: isTypeOnly(match.groups?.clause),
    };
  });
}

function isTypeOnly(clause: string | undefined): boolean {
  if (clause === undefined) return false;
  const names = /\{([^}]*)\}/.exec(clause);
  if (/^\s*type\b/.test(clause)) return true;
  if (names === null || /^\s*\w/.test(clause)) return false;
  return (names[1] ?? '').split(',').every((name) => name.trim() === '' || name.trim().startsWith('type '));
}

function packageOf(specifier: string): string {
  const parts = specifier.split('/');
  return specifier.startsWith('@') ? parts.slice(0, 2).join('/') : (parts[0] ?? '');
}
