// Removes the device of a medium and proves that it is gone. Runs on blocking threads only.
//
// "Gone" is two proofs: an exclusive open of the device succeeded before it was cleared (no filesystem is mounted on it
// in any mount namespace), and afterwards no loop device has the backing file (a clear of a device that somebody else
// has open only takes effect at their close). Anything less is `device-busy`, and the medium must not be wiped.

import { closeSync } from 'node:fs';
import { loopClear, loopMajor } from '../../../native-bindings/loop.ts';
import { Failure } from '../../domain/errors.ts';
import { systemCodeOf } from '../../system/system-call-error.ts';
import { type Medium, sameMedium } from '../local-medium.ts';
import { lossesOf, syncIfScarce } from './last-writes.ts';
import {
  devicePath,
  findDevices,
  isBackedByNone,
  isOnMedium,
  isUnshared,
  type OpenMedium,
  openExclusively,
  openMedium,
  type Surroundings,
  scanLoops,
  syncDevice,
} from './loop-device.ts';
import { mountsEverywhere, ownMounts } from './mount-table.ts';
import { removeMountPoint, unmountOne, unmountPath } from './mounts.ts';

export interface DetachRequest extends Medium {
  readonly at: Surroundings;
  /** The backing file if the exporter's links still lead to it, or where it was. */
  readonly file: string | null;
  /** Devices that this process knows to be on the medium. */
  readonly expected: readonly number[];
  /** Where the filesystem is mounted for us, and where its data is shown, as far as known. */
  readonly base: string;
  readonly shown: readonly string[];
}

export interface DetachAnswer {
  readonly removed: readonly number[];
}

export function detachDevices(request: DetachRequest): DetachAnswer {
  const file = openIfThere(request);
  try {
    const numbers = devicesOf(request, file);
    const isOurs = (number: number) => numbers.includes(number);
    const losses = lossesOf(request, () => syncIfScarce(request, isOurs));
    for (const path of [...request.shown, request.base]) unmountPath(path, isOurs);
    const removed = numbers.filter((number) => removeDevice(number, { request, file, losses }));
    removeMountPoint(request.base);
    refuseUnlessGone(request, file);
    const [lost] = losses;
    if (lost !== undefined) throw lost;
    return { removed };
  } finally {
    if (file !== null) closeSync(file.descriptor);
  }
}

/** Read-only suffices: nothing is made here. Null when the file is gone; then only its name can be looked for. */
function openIfThere(request: DetachRequest): OpenMedium | null {
  if (request.file === null) return null;
  try {
    return openMedium(request.file, request, false);
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'ENOENT' || code === 'ELOOP' || code === 'ENOTDIR') return null;
    throw error;
  }
}

/** Deleted files of the medium's name count as ours. */
function devicesOf(request: DetachRequest, file: OpenMedium | null): number[] {
  if (file !== null && request.expected.length > 0) {
    const found = findDevices(file, request.at, request.expected);
    if (found.length > 0) return found;
  }
  if (file !== null && request.expected.length === 0 && isUnshared(file)) return [];
  return scanLoops(request.at)
    .filter((found) => sameMedium(found, request))
    .map((found) => found.number);
}

interface Removal {
  readonly request: DetachRequest;
  readonly file: OpenMedium | null;
  readonly losses: Failure[];
}

/** False when the device is bound to something else, or nothing, by now. */
function removeDevice(number: number, { request, file, losses }: Removal): boolean {
  const descriptor = openExclusively(number) ?? openAfterUnmounting(number, request);
  try {
    if (!isOnMedium({ number, descriptor }, request, file, request.at)) return false;
    losses.push(...lossesOf(request, () => syncDevice(descriptor)));
    loopClear(descriptor);
    return true;
  } finally {
    closeSync(descriptor);
  }
}

/** Mounts that this process does not remember: everything in our own namespace goes; another namespace's stays. */
function openAfterUnmounting(number: number, request: DetachRequest): number {
  const device = `${loopMajor}:${number}`;
  const own = ownMounts(request.at.root).filter((line) => line.device === device);
  for (const line of own.reverse()) unmountOne(line.mountPoint);
  const descriptor = openExclusively(number);
  if (descriptor !== null) return descriptor;
  const holders = mountsEverywhere(request.at.root, new Set([device])).map(
    (mount) => `${mount.mountPoint} (mount namespace of process ${mount.pid})`,
  );
  const where = holders.length === 0 ? 'no process shows where' : holders.slice(0, 5).join(', ');
  throw new Failure('device-busy', `${devicePath(number)} is still mounted or held exclusively: ${where}.`);
}

function refuseUnlessGone(request: DetachRequest, file: OpenMedium | null): void {
  if (isBackedByNone(request, file, request.at)) return;
  const detail = `A process has the block device of ${request.volumeId} open; it goes when that process closes it.`;
  throw new Failure('device-busy', detail);
}
