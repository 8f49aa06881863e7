/** The directory to mount at, made where it is missing, and why it cannot be, in the words of both kinds of host. */
import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { Failure } from '../domain/errors.ts';
import { systemCodeOf } from '../system/system-call-error.ts';

const accepted = 'accepted: an empty directory, or a path that is not there yet and can be made';

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

const mountPointMode = 0o755;

/** `mount-path-busy` where something else is there, `invalid-request` where no directory can be. */
export function makeMountPoint(path: string): void {
  try {
    for (const missing of missingDirectories(path)) makeDirectory(missing);
  } catch (error) {
    throw mountPointFailure(path, error);
  }
  if (!isDirectory(path)) throw takenMountPoint(path, 'is there already and is no directory');
}

/** One by one: Node's own `recursive` never ends where nothing can be made in a directory that is there, as in /proc. */
function missingDirectories(path: string): string[] {
  const missing: string[] = [];
  for (let each = path; statSync(each, { throwIfNoEntry: false }) === undefined; each = dirname(each)) {
    missing.unshift(each);
  }
  return missing;
}

/** Somebody else may have been faster. */
function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: mountPointMode });
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST') throw error;
  }
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** What was thrown by a change of the path's directory, told as the request's mistake where it is one. */
export function mountPointFailure(path: string, cause: unknown): unknown {
  const code = systemCodeOf(cause) ?? '';
  const reason = reasons[code];
  if (reason === undefined) return cause;
  return new Failure('invalid-request', `path: ${path} cannot be mounted at: ${reason} (${code}); ${accepted}.`, {
    field: 'path',
    cause,
  });
}

export function takenMountPoint(path: string, why: string): Failure {
  return new Failure('mount-path-busy', `path: ${path} ${why}; ${accepted}.`, { field: 'path' });
}
