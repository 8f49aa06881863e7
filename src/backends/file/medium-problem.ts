/** What the disk under a medium did to an action, as the answer to whoever asked for it. */
import { Failure, type Problem } from '../../domain/errors.ts';
import { systemCodeOf } from '../../system/system-call-error.ts';

const tooLarge =
  'sizeBytes is larger than a file can be on the filesystem of the storage node; accepted: less (16 TiB on ext4).';

/** A bug is thrown on. */
export function problemOfMedium(error: unknown, volumeId: string): Problem {
  if (error instanceof Failure) return error.problem;
  const code = systemCodeOf(error);
  if (code === null) throw error;
  if (code === 'EFBIG') return new Failure('no-pool-fits', tooLarge, { field: 'sizeBytes' }).problem;
  const detail = `volume ${volumeId}: ${error instanceof Error ? error.message : code}`;
  return new Failure(code === 'ENOSPC' || code === 'EDQUOT' ? 'out-of-space' : 'device-error', detail).problem;
}
