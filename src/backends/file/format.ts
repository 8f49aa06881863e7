/**
 * Makes a filesystem on a fresh medium, directly on the file.
 *
 * Relies on the file being all zeroes (`assume_storage_prezeroed`, `-K`): on a file with old bytes ext4 would later read
 * them as inode tables. mkfs inherits the volume's lock.
 */
import { limits } from '../../config/limits.ts';
import { Failure } from '../../domain/errors.ts';
import type { FilesystemType } from '../../domain/volume.ts';
import { CommandError, type RunCommand } from '../../system/command.ts';
import { noSpace } from './medium-problem.ts';

export interface FormatRequest {
  readonly run: RunCommand;
  readonly path: string;
  readonly volumeId: string;
  readonly filesystem: FilesystemType;
  readonly lockFd: number;
  /** What the filesystem holds from the start; see `makeFilesystemSeed`. xfs takes none: its first mount makes it. */
  readonly seed: string | null;
}

const prezeroed = 'nodiscard,assume_storage_prezeroed=1';
/** e2fsprogs before 1.47 */
const lazily = 'nodiscard,lazy_itable_init=1,lazy_journal_init=1';

/** False when mkfs is not installed: the host formats then. `device-error`, `out-of-space`, `deadline-exceeded`. */
export async function formatFile(request: FormatRequest): Promise<boolean> {
  try {
    await makeFilesystem(request);
    return true;
  } catch (error) {
    if (error instanceof CommandError && error.end.reason === 'absent') return false;
    throw translated(error, request.volumeId);
  }
}

async function makeFilesystem({ run, path, filesystem, lockFd, seed }: FormatRequest): Promise<void> {
  const options = { deadlineMs: limits.mediumFormatMs, inherit: [lockFd] };
  if (filesystem === 'xfs') {
    await run(['mkfs.xfs', '-f', '-q', '-K', path], options);
    return;
  }
  try {
    await run(ext4(path, seed, prezeroed), options);
  } catch (error) {
    if (!isUnknownOption(error)) throw error;
    await run(ext4(path, seed, lazily), options);
  }
}

/** No blocks are set aside for root: the volume is its owner's. */
function ext4(path: string, seed: string | null, extended: string): string[] {
  return ['mkfs.ext4', '-F', '-q', '-m', '0', ...(seed === null ? [] : ['-d', seed]), '-E', extended, path];
}

function isUnknownOption(error: unknown): boolean {
  return error instanceof CommandError && error.end.stderrTail.includes('assume_storage_prezeroed');
}

function translated(error: unknown, volumeId: string): unknown {
  if (!(error instanceof CommandError)) return error;
  const { reason, stderrTail, argv } = error.end;
  if (reason === 'overran')
    return new Failure('deadline-exceeded', `${argv[0]} overran its deadline.`, { cause: error });
  if (/no space left/i.test(stderrTail)) return noSpace(volumeId, error);
  return new Failure('device-error', error.message, { cause: error });
}
