/** mkdir -p that ends everywhere, and why a directory cannot be made. */
import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { systemCodeOf } from './system-call-error.ts';

/** mkdir(2) where the path, not the machine, is to blame. */
const reasons: Readonly<Record<string, string>> = {
  ENOTDIR: 'it lies below something that is no directory',
  ENOENT: 'no directory can be made there',
  EACCES: 'no directory may be made there',
  EPERM: 'no directory can be made there',
  EROFS: 'it lies on a read-only filesystem',
  ELOOP: 'its symbolic links lead in a circle',
  ENAMETOOLONG: 'a part of it is too long',
};

/** Null: the path is not to blame. */
export function noDirectoryReason(error: unknown): string | null {
  const code = systemCodeOf(error) ?? '';
  const reason = reasons[code];
  return reason === undefined ? null : `${reason} (${code})`;
}

/** Of an absolute path. Answers what was made, the outermost first. What is there may be no directory. */
export function makeDirectories(path: string, mode: number): readonly string[] {
  return missingDirectories(path).filter((missing) => makeDirectory(missing, mode));
}

/** One by one: Node's own `recursive` never ends where nothing can be made in a directory that is there, as in /proc. */
function missingDirectories(path: string): string[] {
  const missing: string[] = [];
  for (let each = path; statSync(each, { throwIfNoEntry: false }) === undefined; each = dirname(each)) {
    missing.unshift(each);
  }
  return missing;
}

/** False: somebody else was faster. */
function makeDirectory(path: string, mode: number): boolean {
  try {
    mkdirSync(path, { mode });
    return true;
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST') throw error;
    return false;
  }
}
