// Makes a filesystem on a device by force: the only program that the host ever starts.
// Relies on the caller for identity, lock and sync. `lock` is inherited, so an orphan keeps the volume locked while it
// writes. Nothing is discarded: the bytes of a volume change only where a wipe has its own proof.

import { limits } from '../../config/limits.ts';
import { Failure } from '../../domain/errors.ts';
import type { FilesystemType } from '../../domain/volume.ts';
import { CommandError, type RunCommand } from '../../system/command.ts';

export interface MkfsRequest {
  readonly run: RunCommand;
  readonly devicePath: string;
  readonly filesystem: FilesystemType;
  readonly lockDescriptor: number;
  /** What the filesystem holds from the start; see `makeFilesystemSeed`. */
  readonly seed: string;
  /** Every byte of the medium is zero: nothing needs zeroing. */
  readonly isBlank: boolean;
  readonly deadlineMs?: number;
}

const prezeroed = 'assume_storage_prezeroed=1';

export async function makeFilesystem(request: MkfsRequest): Promise<void> {
  try {
    await makeQuickly(request);
  } catch (error) {
    throw translated(error);
  }
}

async function makeQuickly(request: MkfsRequest): Promise<void> {
  if (request.filesystem === 'xfs') return await start(request, ['mkfs.xfs', '-f', '-q', '-K']);
  const plain = ['mkfs.ext4', '-F', '-F', '-q', '-m', '0', '-d', request.seed, '-E'];
  if (!request.isBlank) return await start(request, [...plain, 'nodiscard']);
  try {
    await start(request, [...plain, `nodiscard,${prezeroed}`]);
  } catch (error) {
    // e2fsprogs before 1.47
    if (!(error instanceof CommandError) || !error.end.stderrTail.includes(prezeroed.split('=')[0] ?? '')) throw error;
    await start(request, [...plain, 'nodiscard']);
  }
}

async function start(request: MkfsRequest, argv: readonly string[]): Promise<void> {
  const deadlineMs = request.deadlineMs ?? limits.hostFormatMs;
  await request.run([...argv, request.devicePath], { deadlineMs, inherit: [request.lockDescriptor] });
}

function translated(error: unknown): unknown {
  if (!(error instanceof CommandError)) return error;
  const { reason, argv } = error.end;
  const detail = error.message;
  const missing = `${argv[0]} is not installed on this machine, which has to format the volume: install it (Debian: e2fsprogs for ext4, xfsprogs for xfs), or take a volume of a pool with another filesystem.`;
  if (reason === 'overran') return new Failure('deadline-exceeded', `${argv[0]} was ended.`, { cause: error });
  if (reason === 'absent') return new Failure('not-supported', missing, { cause: error });
  return new Failure('device-error', detail, { cause: error });
}
