/** What the disk under a medium did to an action, as the answer to whoever asked for it. */
import { Failure, type Problem } from '../../domain/errors.ts';
import { isDiskFull } from '../../system/full-disk.ts';
import { systemCodeOf } from '../../system/system-call-error.ts';

const tooLarge =
  'sizeBytes is larger than a file can be on the filesystem of the storage node; accepted: less (16 TiB on ext4).';

/** They say nothing about the one medium: the machine, or the whole filesystem, cannot go on. */
const ofTheNode: readonly string[] = ['EROFS', 'EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'ESTALE', 'ENOTCONN'];

/** `device-error` is about the one medium that was read or written. A bug is thrown on. */
export function problemOfMedium(error: unknown, volumeId: string): Problem {
  if (error instanceof Failure) return error.problem;
  const code = systemCodeOf(error);
  if (code === null) throw error;
  if (code === 'EFBIG') return new Failure('no-pool-fits', tooLarge, { field: 'sizeBytes' }).problem;
  if (isDiskFull(error)) return noSpace(volumeId, error).problem;
  const detail = `volume ${volumeId}: ${error instanceof Error ? error.message : code}`;
  return new Failure(ofTheNode.includes(code) ? 'storage-failed' : 'device-error', detail).problem;
}

/** For whoever asked for the volume, too: they may ask for less, or free some. */
export function noSpace(volumeId: string, cause: unknown): Failure {
  return new Failure('out-of-space', `There is no space for volume ${volumeId} on the storage node.`, { cause });
}

/** A medium that cannot be made says nothing about one that is there: its old owner's bytes may well be gone. */
export function failureOfMaking(error: unknown, volumeId: string): Failure {
  const told = problemOfMedium(error, volumeId);
  if (told.code !== 'device-error') return Failure.from(told);
  return new Failure('storage-failed', told.detail, { cause: error });
}
