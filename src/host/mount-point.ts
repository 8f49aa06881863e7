/** Why a directory to mount at cannot be made, in the words of both kinds of host. */
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

/** What mkdir threw, told as the request's mistake where it is one. */
export function mountPointFailure(path: string, cause: unknown): unknown {
  const code = systemCodeOf(cause) ?? '';
  if (code === 'EEXIST') return takenMountPoint(path, 'is there already and is no directory', cause);
  const reason = reasons[code];
  if (reason === undefined) return cause;
  return new Failure('invalid-request', `path: ${path} cannot be mounted at: ${reason} (${code}); ${accepted}.`, {
    field: 'path',
    cause,
  });
}

export function takenMountPoint(path: string, why: string, cause?: unknown): Failure {
  return new Failure('mount-path-busy', `path: ${path} ${why}; ${accepted}.`, { field: 'path', cause });
}
