// Finds, makes, proves and removes the loop device of a medium. Runs on blocking threads only.
//
// Relies on the kernel for what must not be raced: LOOP_CONFIGURE binds and marks in one step; an open descriptor keeps
// a device from being rebound; a write lease on the backing file is granted only while nobody else has the file open,
// so it proves in one call that no loop device (and no other process) has it. Without the lease all devices are read.

import { closeSync, fstatSync, fsyncSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { blockFlush, openFlags, releaseLease, tryWriteLease } from '../../../native-bindings/libc.ts';
import {
  type LoopStatus,
  loopClear,
  loopConfigure,
  loopFlags,
  loopGetFree,
  loopStatus,
} from '../../../native-bindings/loop.ts';
import { limits } from '../../config/limits.ts';
import { Failure } from '../../domain/errors.ts';
import { systemCodeOf } from '../../system/system-call-error.ts';
import { type BackingFile, type Medium, markOf, mediumOf, parseBackingFile, sameMedium } from '../local-medium.ts';

/** Where the media and the kernel's files are; `root` is empty, or a captured tree's in tests. */
export interface Surroundings {
  readonly root: string;
  readonly volumesDirectory: string;
}

export interface LoopFound {
  readonly number: number;
  readonly volumeId: string;
  readonly mediaGeneration: number;
  readonly backing: BackingFile;
}

/** The backing file, open: its descriptor, and its identity at this moment. */
export interface OpenMedium extends Medium {
  readonly path: string;
  readonly descriptor: number;
  readonly device: bigint;
  readonly inode: bigint;
  readonly sizeBytes: number;
}

export interface OpenDevice {
  readonly number: number;
  readonly descriptor: number;
}

export function devicePath(number: number): string {
  return `/dev/loop${number}`;
}

export function openMedium(path: string, medium: Medium, readOnly: boolean): OpenMedium {
  const flags = (readOnly ? openFlags.O_RDONLY : openFlags.O_RDWR) | openFlags.O_CLOEXEC | openFlags.O_NOFOLLOW;
  const descriptor = openSync(path, flags);
  const { dev, ino, size } = fstatSync(descriptor, { bigint: true });
  return { ...medium, path, descriptor, device: dev, inode: ino, sizeBytes: Number(size) };
}

/** Every device on a medium under our directory, deleted files included, by its backing file's name. */
export function scanLoops(surroundings: Surroundings): LoopFound[] {
  const directory = `${surroundings.root}/sys/block`;
  const names = readdirSync(directory).filter((name) => /^loop\d+$/.test(name));
  return names.flatMap((name) => {
    const backing = readBackingFile(`${directory}/${name}/loop`);
    const medium = backing === null ? null : mediumUnder(surroundings.volumesDirectory, backing.path);
    if (backing === null || medium === null) return [];
    return [{ number: Number(name.slice('loop'.length)), ...medium, backing }];
  });
}

/** Whether the device is on a medium below our directory. */
export function isOurs(number: number, { root, volumesDirectory }: Surroundings): boolean {
  const backing = readBackingFile(`${root}/sys/block/loop${number}/loop`);
  return backing !== null && mediumUnder(volumesDirectory, backing.path) !== null;
}

function mediumUnder(directory: string, filePath: string): Medium | null {
  return filePath.startsWith(`${directory}/`) ? mediumOf(filePath) : null;
}

/**
 * Null when nothing is bound; any other failure to read is an error, never "nothing". Most devices are unbound where many
 * were once bound, and to find no directory costs far less than an error does.
 */
function readBackingFile(loopDirectory: string): BackingFile | null {
  if (statSync(loopDirectory, { throwIfNoEntry: false }) === undefined) return null;
  try {
    return parseBackingFile(readFileSync(`${loopDirectory}/backing_file`, 'utf8'));
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'ENOENT' || code === 'ENXIO' || code === 'ENODEV') return null;
    throw error;
  }
}

/** The device's file is the open medium: same inode now, whole file, and the mark that we wrote (or none of ours). */
export function isOn(status: LoopStatus, medium: OpenMedium): boolean {
  const foreignMark = status.mark.startsWith('fcr:') && status.mark !== markOf(medium);
  const sameFile = status.backingDevice === medium.device && status.backingInode === medium.inode;
  return sameFile && !foreignMark && status.offsetBytes === 0n;
}

/** The device's descriptor if it is bound to the open medium now; the caller closes it. */
export function openIfOn(number: number, medium: OpenMedium): number | null {
  const descriptor = openOrNull(number, openFlags.O_RDONLY);
  if (descriptor === null) return null;
  const status = loopStatus(descriptor);
  if (status !== null && isOn(status, medium)) return descriptor;
  closeSync(descriptor);
  return null;
}

function openOrNull(number: number, flags: number): number | null {
  try {
    return openSync(devicePath(number), flags | openFlags.O_CLOEXEC);
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'ENOENT' || code === 'ENXIO' || code === 'ENODEV') return null;
    throw error;
  }
}

/** Numbers of all devices on the open medium: those expected if they are, else by reading every device. */
export function findDevices(medium: OpenMedium, surroundings: Surroundings, expected: readonly number[]): number[] {
  const confirmed = expected.filter((number) => isBoundTo(number, medium));
  if (confirmed.length > 0 && confirmed.length === expected.length) return confirmed;
  const candidates = scanLoops(surroundings).filter((found) => sameMedium(found, medium) && !found.backing.deleted);
  return candidates.map((found) => found.number).filter((number) => isBoundTo(number, medium));
}

function isBoundTo(number: number, medium: OpenMedium): boolean {
  const descriptor = openIfOn(number, medium);
  if (descriptor === null) return false;
  closeSync(descriptor);
  return true;
}

/**
 * Whether nobody else has the file open: no process, no loop device. The lease is given back at once. Were it held while
 * a loop device is made, a crash would leave it with the device, and the next open(2) would wait for lease-break-time.
 */
export function isUnshared(medium: OpenMedium): boolean {
  if (!tryWriteLease(medium.descriptor)) return false;
  releaseLease(medium.descriptor);
  return true;
}

/** Makes a device on the open medium and answers its number. */
export function createDevice(medium: OpenMedium, readOnly: boolean): number {
  const control = openSync('/dev/loop-control', openFlags.O_RDWR | openFlags.O_CLOEXEC);
  try {
    for (let attempt = 0; attempt < limits.loopCreateAttempts; attempt += 1) {
      const number = loopGetFree(control);
      if (bind(number, medium, readOnly)) return number;
    }
  } finally {
    closeSync(control);
  }
  throw new Failure('device-error', 'No free loop device could be had: others took each one first.');
}

/** False when somebody else was faster (EBUSY). */
function bind(number: number, medium: OpenMedium, readOnly: boolean): boolean {
  const mode = readOnly ? openFlags.O_RDONLY : openFlags.O_RDWR;
  const descriptor = openSync(devicePath(number), mode | openFlags.O_CLOEXEC);
  try {
    configure(descriptor, medium, readOnly ? loopFlags.LO_FLAGS_READ_ONLY : 0);
    return true;
  } catch (error) {
    if (systemCodeOf(error) === 'EBUSY') return false;
    throw error;
  } finally {
    closeSync(descriptor);
  }
}

/** Direct I/O where the filesystem allows it: the kernel ignores the flag or, in some versions, refuses it. */
function configure(descriptor: number, medium: OpenMedium, flags: number): void {
  const configuration = { backingDescriptor: medium.descriptor, mark: markOf(medium) };
  try {
    loopConfigure(descriptor, { ...configuration, flags: flags | loopFlags.LO_FLAGS_DIRECT_IO });
  } catch (error) {
    if (systemCodeOf(error) !== 'EINVAL') throw error;
    loopConfigure(descriptor, { ...configuration, flags });
  }
}

/** The descriptor of an exclusive open: nobody, in any mount namespace, has a filesystem on the device. Null: somebody. */
export function openExclusively(number: number): number | null {
  try {
    return openSync(devicePath(number), openFlags.O_RDONLY | openFlags.O_EXCL | openFlags.O_CLOEXEC);
  } catch (error) {
    if (systemCodeOf(error) === 'EBUSY') return null;
    throw error;
  }
}

/** Writes back and unbinds a device that is open exclusively. If others have it open, only their close completes it. */
export function clearExclusive(descriptor: number): void {
  syncDevice(descriptor);
  loopClear(descriptor);
}

/** What its filesystem has left in the cache, and the medium's own. */
export function syncDevice(descriptor: number): void {
  fsyncSync(descriptor);
  blockFlush(descriptor);
}

/**
 * Whether the device, which the caller has open, is on this medium now: on the very file, or on a file of its name
 * under our directory, deleted or not. The mark alone is no proof: another instance may have written it.
 */
export function isOnMedium(device: OpenDevice, medium: Medium, file: OpenMedium | null, at: Surroundings): boolean {
  const status = loopStatus(device.descriptor);
  if (status === null) return false;
  if (file !== null && isOn(status, file)) return true;
  const backing = readBackingFile(`${at.root}/sys/block/loop${device.number}/loop`);
  const found = backing === null ? null : mediumUnder(at.volumesDirectory, backing.path);
  return found !== null && sameMedium(found, medium);
}

/** Whether no loop device is backed by the medium, deleted or not. */
export function isBackedByNone(medium: Medium, open: OpenMedium | null, surroundings: Surroundings): boolean {
  if (open !== null && fileIsCurrent(open) && isUnshared(open)) return true;
  return !scanLoops(surroundings).some((found) => sameMedium(found, medium));
}

function fileIsCurrent(open: OpenMedium): boolean {
  try {
    const { dev, ino } = statSync(open.path, { bigint: true });
    return dev === open.device && ino === open.inode;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return false;
    throw error;
  }
}
