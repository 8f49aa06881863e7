// Whether all that was written to a volume is on its medium. umount(2) does not say what it could not write back, and on a
// full disk that is all since the last sync: syncfs(2) says it, once, and fsync(2) of the device what its filesystem met.
// Whoever unmounts is told then. The device goes all the same: there is nothing to mend about it.

import { closeSync, openSync, statfsSync } from 'node:fs';
import { openFlags, syncFilesystem } from '../../../native-bindings/libc.ts';
import { limits } from '../../config/limits.ts';
import { Failure } from '../../domain/errors.ts';
import { systemCodeOf } from '../../system/system-call-error.ts';
import type { Surroundings } from './loop-device.ts';
import { loopMountedAt } from './mounts.ts';

export interface Written {
  readonly volumeId: string;
  readonly at: Surroundings;
  /** Where its filesystem is mounted. */
  readonly base: string;
}

/** What a full disk has kept the action from storing. Every other error is thrown on. */
export function lossesOf({ volumeId, at }: Written, action: () => void): Failure[] {
  try {
    action();
    return [];
  } catch (error) {
    if (systemCodeOf(error) === null || availableBytes(at) > limits.diskFullBytes) throw error;
    const detail = `The disk under volume ${volumeId} is full: what was written to it last is lost. Unmount it once more.`;
    return [new Failure('writes-lost', detail, { cause: error })];
  }
}

/** Not where there is space for whatever is written back: unmounting does it as well, and need not do it twice. */
export function syncIfScarce({ at, base }: Written, isOurs: (loopNumber: number) => boolean): void {
  if (availableBytes(at) > limits.diskScarceBytes) return;
  const number = loopMountedAt(base);
  if (number === null || !isOurs(number)) return;
  const descriptor = openSync(base, openFlags.O_RDONLY | openFlags.O_DIRECTORY | openFlags.O_CLOEXEC);
  try {
    syncFilesystem(descriptor, base);
  } finally {
    closeSync(descriptor);
  }
}

/** Where the directory is gone, so are the media: nothing can be said of space. */
function availableBytes({ volumesDirectory }: Surroundings): number {
  try {
    const { bavail, bsize } = statfsSync(volumesDirectory);
    return bavail * bsize;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return Number.POSITIVE_INFINITY;
    throw error;
  }
}
