/** The directory to mount at, made where it is missing, and why it cannot be, in the words of both kinds of host. */
import { statSync } from 'node:fs';
import { Failure } from '../domain/errors.ts';
import { makeDirectories, noDirectoryReason } from '../system/directories.ts';

const accepted = 'accepted: an empty directory, or a path that is not there yet and can be made';

const mountPointMode = 0o755;

/** `mount-path-busy` where something else is there, `invalid-request` where no directory can be. */
export function makeMountPoint(path: string): void {
  try {
    makeDirectories(path, mountPointMode);
  } catch (error) {
    throw mountPointFailure(path, error);
  }
  if (!isDirectory(path)) throw takenMountPoint(path, 'is there already and is no directory');
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** What was thrown by a change of the path's directory, told as the request's mistake where it is one. */
export function mountPointFailure(path: string, cause: unknown): unknown {
  const reason = noDirectoryReason(cause);
  if (reason === null) return cause;
  return new Failure('invalid-request', `path: ${path} cannot be mounted at: ${reason}; ${accepted}.`, {
    field: 'path',
    cause,
  });
}

export function takenMountPoint(path: string, why: string): Failure {
  return new Failure('mount-path-busy', `path: ${path} ${why}; ${accepted}.`, { field: 'path' });
}
