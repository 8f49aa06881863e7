// Mounts a volume's filesystem below the state directory and shows its subdirectory `data` at the wanted paths.
// Runs on blocking threads only. A user never sees the filesystem's root (lost+found); one filesystem mount serves any
// number of bind mounts, and detach removes it last.
//
// Relies on: the caller holds the proved device open, so that its path cannot lead to another medium meanwhile.

import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmdirSync,
  type Stats,
  statSync,
  utimesSync,
} from 'node:fs';
import { join } from 'node:path';
import { mount, mountFlags, unmount } from '../../../native-bindings/libc.ts';
import { loopMajor } from '../../../native-bindings/loop.ts';
import { limits } from '../../config/limits.ts';
import { Failure } from '../../domain/errors.ts';
import type { FilesystemType } from '../../domain/volume.ts';
import { dataDirectoryMode, dataDirectoryName } from '../../system/filesystem-seed.ts';
import { systemCodeOf } from '../../system/system-call-error.ts';
import { makeMountPoint, takenMountPoint } from '../mount-point.ts';

export interface FilesystemMount {
  /** Where the whole filesystem is mounted; for us alone. */
  readonly base: string;
  readonly devicePath: string;
  readonly deviceNumber: number;
  readonly filesystem: FilesystemType;
  readonly deviceReadOnly: boolean;
}

export interface ShownPath {
  readonly path: string;
  readonly readOnly: boolean;
  readonly uid?: number;
  readonly gid?: number;
  readonly mode?: number;
}

const safeFlags = mountFlags.MS_NOSUID | mountFlags.MS_NODEV;
const baseMode = 0o700;

/** st_dev of a filesystem on the loop device, as stat(2) shows it (sys/sysmacros.h, minor up to 2^20). */
export function deviceIdOf(loopNumber: number): number {
  return (loopNumber & ~0xff) * 2 ** 12 + (loopMajor << 8) + (loopNumber & 0xff);
}

/** The loop device's number if a path lies on one. */
export function loopNumberOf(deviceId: number): number | null {
  if (((deviceId >>> 8) & 0xfff) !== loopMajor) return null;
  return (deviceId & 0xff) + Math.floor(deviceId / 2 ** 20) * 256;
}

/** Idempotent. What lies at `base` from another device is a leftover of ours and is removed. */
export function mountFilesystem(wanted: FilesystemMount): void {
  mkdirSync(wanted.base, { recursive: true, mode: baseMode });
  const present = statSync(wanted.base).dev;
  if (present === deviceIdOf(wanted.deviceNumber)) return;
  if (present !== statSync(join(wanted.base, '..')).dev) unmountCompletely(wanted.base);
  const flags = safeFlags | (wanted.deviceReadOnly ? mountFlags.MS_RDONLY : 0);
  mountOrExplain(wanted, flags);
  if (statSync(wanted.base).dev === deviceIdOf(wanted.deviceNumber)) return;
  unmountCompletely(wanted.base);
  throw new Failure('identity-mismatch', `${wanted.devicePath} was mounted but another device appeared.`);
}

/** A read-only device cannot replay a journal: what the last writer's crash left in it is skipped. */
function mountOrExplain(wanted: FilesystemMount, flags: number): void {
  const { devicePath, base, filesystem } = wanted;
  const withoutRecovery = { ext4: 'noload', xfs: 'norecovery' }[filesystem];
  mount(devicePath, base, filesystem, flags, wanted.deviceReadOnly ? withoutRecovery : null);
}

/** Shows the data directory at the path. Idempotent; `mount-path-busy` when something else is there. */
export function showData(wanted: FilesystemMount, shown: ShownPath): void {
  const data = dataDirectory(wanted, shown);
  makeMountPoint(shown.path);
  const path = realpathSync.native(shown.path);
  if (!isSameDirectory(statSync(path), statSync(data))) {
    refuseUnlessFree(path, wanted);
    mount(data, path, null, mountFlags.MS_BIND);
  }
  const readOnly = shown.readOnly || wanted.deviceReadOnly;
  const flags = mountFlags.MS_BIND | mountFlags.MS_REMOUNT | safeFlags;
  mount(null, path, null, flags | (readOnly ? mountFlags.MS_RDONLY : 0));
}

/**
 * Owner and mode are those of the first mount that states any, before anything is written. A filesystem that came
 * without the directory gets it from its first writer, and shows itself to readers until then.
 */
function dataDirectory(wanted: FilesystemMount, shown: ShownPath): string {
  const data = join(wanted.base, dataDirectoryName);
  const present = statSync(data, { throwIfNoEntry: false });
  if (present === undefined && wanted.deviceReadOnly) return wanted.base;
  if (present === undefined) makeDataDirectory(data, shown);
  else if (present.mtimeMs === 0 && statesOwner(shown) && !wanted.deviceReadOnly) giveDataDirectory(data, shown);
  return data;
}

function statesOwner({ uid, gid, mode }: ShownPath): boolean {
  return uid !== undefined || gid !== undefined || mode !== undefined;
}

/** The time comes last: a crash before it leaves all of this to be done again. */
function giveDataDirectory(data: string, shown: ShownPath): void {
  chownSync(data, shown.uid ?? 0, shown.gid ?? 0);
  chmodSync(data, shown.mode ?? dataDirectoryMode);
  const now = new Date();
  utimesSync(data, now, now);
}

/** Renamed into place once owner and mode are right: a crash in between leaves no half-made one. */
function makeDataDirectory(data: string, shown: ShownPath): void {
  const temporary = `${data}.new`;
  mkdirSync(temporary, { recursive: true });
  giveDataDirectory(temporary, shown);
  renameSync(temporary, data);
}

function isSameDirectory(a: Stats, b: Stats): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}

function refuseUnlessFree(path: string, wanted: FilesystemMount): void {
  const { dev } = statSync(path);
  const isMount = dev !== statSync(join(path, '..')).dev;
  if (isMount && loopNumberOf(dev) !== null) {
    throw takenMountPoint(path, `already shows the filesystem of ${describeDevice(dev)}`);
  }
  if (dev === deviceIdOf(wanted.deviceNumber)) {
    throw takenMountPoint(path, 'lies within the volume itself');
  }
  if (readdirSync(path).length > 0) throw takenMountPoint(path, 'is not empty');
}

function describeDevice(deviceId: number): string {
  return `loop${loopNumberOf(deviceId)}`;
}

/** Removes our mounts at the path, topmost first, while `isOurs` says so of the device. Absent is success. */
export function unmountPath(path: string, isOurs: (loopNumber: number) => boolean): boolean {
  let removed = false;
  for (let layer = 0; layer < limits.mountLayers; layer += 1) {
    const real = realPathOrNull(path);
    const number = real === null ? null : loopMountedAt(real);
    if (real === null || number === null || !isOurs(number) || !unmountOne(real)) return removed;
    removed = true;
  }
  throw new Failure('device-busy', `${path} has more than ${limits.mountLayers} mounts on top of each other.`);
}

/** The loop device whose filesystem the path shows; null for every other, and where there is nothing. */
export function loopMountedAt(path: string): number | null {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? null : loopNumberOf(found.dev);
}

function realPathOrNull(path: string): string | null {
  try {
    return realpathSync.native(path);
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw error;
  }
}

/** False when there is no mount at exactly this path. */
export function unmountOne(path: string): boolean {
  try {
    unmount(path);
    return true;
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'EINVAL' || code === 'ENOENT') return false;
    if (code !== 'EBUSY') throw error;
    throw new Failure('device-busy', `${path} is in use: a process works in it or holds a file open.`, {
      cause: error,
    });
  }
}

export function unmountCompletely(path: string): void {
  for (let layer = 0; layer < limits.mountLayers; layer += 1) if (!unmountOne(path)) return;
}

/** Removes the empty directory of a former mount. */
export function removeMountPoint(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw error;
  }
}
