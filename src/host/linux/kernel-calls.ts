// What the Linux host's blocking threads run: each function is one round trip and does the whole of its work, so that
// attach, mount and detach cost one each. Plain data in and out; descriptors are numbers of this process.
//
// A descriptor that is handed out ("held") keeps its device from being rebound: the host gives it back here.

import { closeSync, existsSync, fstatSync, fsyncSync, mkdirSync, openSync, readlinkSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { seekData, tryLockExclusively } from '../../../native-bindings/file.ts';
import { blockIsReadOnly, openFlags } from '../../../native-bindings/libc.ts';
import { loopFlags, loopMajor, loopStatus } from '../../../native-bindings/loop.ts';
import { Failure } from '../../domain/errors.ts';
import type { FilesystemType } from '../../domain/volume.ts';
import { systemCodeOf } from '../../system/system-call-error.ts';
import { fileNameOf, type Medium, mediumOf, sameMedium } from '../local-medium.ts';
import { type DetachAnswer, type DetachRequest, detachDevices } from './detach.ts';
import {
  clearExclusive,
  createDevice,
  devicePath,
  findDevices,
  isOn,
  isOurs,
  isUnshared,
  type LoopFound,
  type OpenMedium,
  openExclusively,
  openIfOn,
  openMedium,
  type Surroundings,
  scanLoops,
} from './loop-device.ts';
import { describeProcess, mountsEverywhere, type NamespaceMount } from './mount-table.ts';
import { mountFilesystem, type ShownPath, showData, unmountPath } from './mounts.ts';
import { usersOf } from './path-users.ts';

export { probeLoop, probeMount } from './probes.ts';

export interface MediumRequest extends Medium {
  readonly at: Surroundings;
  /** The exporter's links of exactly the target's paths. */
  readonly links: readonly string[];
}

export interface AttachRequest extends MediumRequest {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** Devices that the host knows to be on the medium. */
  readonly expected: readonly number[];
}

export interface AttachAnswer {
  readonly number: number;
  readonly heldDescriptor: number;
  readonly file: string;
  readonly extrasRemoved: readonly number[];
}

/** Finds the medium's device by identity, or makes it, and proves it. */
export function attachDevice(request: AttachRequest): AttachAnswer {
  const medium = openExported(request, request.readOnly);
  try {
    if (medium.sizeBytes !== request.sizeBytes) {
      throw mismatch(request, `its file has ${medium.sizeBytes} bytes instead of ${request.sizeBytes}`);
    }
    const { number, extrasRemoved } = deviceFor(medium, request);
    const heldDescriptor = openIfOn(number, medium);
    if (heldDescriptor === null) throw mismatch(request, `${devicePath(number)} was bound anew meanwhile`);
    return { number, heldDescriptor, file: medium.path, extrasRemoved };
  } finally {
    closeSync(medium.descriptor);
  }
}

interface Chosen {
  readonly number: number;
  readonly extrasRemoved: readonly number[];
}

function deviceFor(medium: OpenMedium, request: AttachRequest): Chosen {
  if (request.expected.length === 0 && isUnshared(medium)) {
    return { number: createDevice(medium, request.readOnly), extrasRemoved: [] };
  }
  const found = findDevices(medium, request.at, request.expected);
  const suitable = found.filter((number) => isReadOnly(number) === request.readOnly);
  const [kept = null] = suitable.length > 0 ? [mostUsed(suitable)] : [];
  const extrasRemoved = found.filter((number) => number !== kept);
  for (const number of extrasRemoved) removeExtra(number, medium);
  return { number: kept ?? createDevice(medium, request.readOnly), extrasRemoved };
}

function isReadOnly(number: number): boolean {
  const descriptor = openSync(devicePath(number), openFlags.O_RDONLY | openFlags.O_CLOEXEC);
  try {
    return blockIsReadOnly(descriptor) || ((loopStatus(descriptor)?.flags ?? 0) & loopFlags.LO_FLAGS_READ_ONLY) !== 0;
  } finally {
    closeSync(descriptor);
  }
}

/** Of several devices on one medium at most one can be kept: the one that is mounted, if any is. */
function mostUsed(numbers: readonly number[]): number | undefined {
  return numbers.find(isInUse) ?? numbers[0];
}

function isInUse(number: number): boolean {
  const descriptor = openExclusively(number);
  if (descriptor !== null) closeSync(descriptor);
  return descriptor === null;
}

/** Two devices on one file have two caches: one writer becomes two. A second one that is in use is refused. */
function removeExtra(number: number, medium: OpenMedium): void {
  const descriptor = openExclusively(number);
  if (descriptor === null) {
    throw new Failure('device-busy', `${devicePath(number)} is on the same medium and in use; it must go first.`);
  }
  try {
    const status = loopStatus(descriptor);
    if (status !== null && isOn(status, medium)) clearExclusive(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** The file that all of the links lead to, open; it must be named for the medium. */
function openExported(request: MediumRequest, readOnly: boolean): OpenMedium {
  const file = exportedFile(request);
  const named = mediumOf(file);
  if (named === null || !sameMedium(named, request)) throw mismatch(request, `the path leads to ${file}`);
  if (!file.startsWith(`${request.at.volumesDirectory}/`)) throw mismatch(request, `${file} is not one of our media`);
  try {
    return openMedium(file, request, readOnly);
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw error;
    throw new Failure('device-error', `${file} is exported but not there.`, { cause: error });
  }
}

function exportedFile(request: MediumRequest): string {
  const files = new Set(request.links.map(readExportLink));
  const [file] = files;
  if (file === undefined) throw new Failure('host-unreachable-paths', `${request.volumeId} has no path to this host.`);
  if (files.size > 1) throw mismatch(request, `its paths lead to different media: ${[...files].join(', ')}`);
  return file;
}

function readExportLink(link: string): string {
  try {
    return readlinkSync(link);
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw error;
    throw new Failure('device-error', `Nothing is exported at ${link}.`, { cause: error });
  }
}

function mismatch(medium: Medium, why: string): Failure {
  const wanted = `${medium.volumeId} of generation ${medium.mediaGeneration}`;
  return new Failure('identity-mismatch', `The device is not ${wanted}: ${why}.`);
}

export interface ProveRequest extends MediumRequest {
  readonly number: number;
}

/** Opens and proves; the caller of this module closes the descriptor. */
function openProved(request: ProveRequest): { descriptor: number; medium: OpenMedium } {
  const medium = openExported(request, true);
  try {
    const descriptor = openIfOn(request.number, medium);
    if (descriptor === null) throw mismatch(request, `${devicePath(request.number)} is on another file`);
    return { descriptor, medium };
  } finally {
    closeSync(medium.descriptor);
  }
}

export interface MountRequest extends ProveRequest {
  readonly base: string;
  readonly filesystem: FilesystemType;
  readonly shown: ShownPath;
}

export function mountVolume(request: MountRequest): void {
  const { descriptor } = openProved(request);
  try {
    const deviceReadOnly = ((loopStatus(descriptor)?.flags ?? 0) & loopFlags.LO_FLAGS_READ_ONLY) !== 0;
    const { base, filesystem, number } = request;
    const wanted = { base, filesystem, devicePath: devicePath(number), deviceNumber: number, deviceReadOnly };
    mountFilesystem(wanted);
    showData(wanted, request.shown);
  } finally {
    closeSync(descriptor);
  }
}

/** Removes our mount at the path: ours are those of loop devices on media under our directory. */
/** `device-busy` names who works in it, as far as that can be seen. */
export function unmountShown({ at, path }: { readonly at: Surroundings; readonly path: string }): boolean {
  try {
    return unmountPath(path, (number) => isOurs(number, at));
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 'device-busy') throw error;
    const users = usersOf(at.root, path);
    if (users.length === 0) throw error;
    throw new Failure('device-busy', `${path} is in use by ${users.join(', ')}.`, { cause: error });
  }
}

export interface DetachCall extends DetachRequest {
  readonly links: readonly string[];
}

export function detachDevice(call: DetachCall): DetachAnswer {
  return detachDevices({ ...call, file: call.file ?? fileStillExported(call) });
}

/** Null where no link is left or it already leads to another medium: the device is then looked for by name. */
function fileStillExported(call: DetachCall): string | null {
  for (const link of call.links) {
    const file = readLinkOrNull(link);
    const named = file === null ? null : mediumOf(file);
    if (named !== null && sameMedium(named, call)) return file;
  }
  const usual = join(call.at.volumesDirectory, fileNameOf(call));
  return existsSync(usual) ? usual : null;
}

function readLinkOrNull(link: string): string | null {
  try {
    return readlinkSync(link);
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'ENOENT' || code === 'EINVAL' || code === 'ENOTDIR') return null;
    throw error;
  }
}

export interface FormatStart {
  readonly deviceDescriptor: number;
  /** No data in the file: what mkfs would zero is zero already. */
  readonly isBlank: boolean;
}

/** Proves the device and keeps it open for the time of the format. The volume's lock must be held. */
export function formatBegin(request: ProveRequest): FormatStart {
  const { descriptor, medium } = openProved(request);
  return { deviceDescriptor: descriptor, isBlank: hasNoData(medium.path) };
}

function hasNoData(path: string): boolean {
  const descriptor = openSync(path, openFlags.O_RDONLY | openFlags.O_CLOEXEC);
  try {
    return seekData(descriptor, 0) === null;
  } finally {
    closeSync(descriptor);
  }
}

/** Everything that was written is on the medium when this returns. */
export function formatSync(deviceDescriptor: number): void {
  fsyncSync(deviceDescriptor);
}

export function closeDescriptors(descriptors: readonly number[]): void {
  for (const descriptor of descriptors) closeSync(descriptor);
}

/**
 * The volume's flock, if it is free: the descriptor, which programs inherit. Null: somebody changes its bytes now. The
 * storage node removes the lock's file together with the volume, so what was locked must still be what the name leads to.
 */
export function tryVolumeLock(path: string): number | null {
  const descriptor = openLockFile(path);
  if (tryLockExclusively(descriptor) && isStillNamed(path, descriptor)) return descriptor;
  closeSync(descriptor);
  return null;
}

function openLockFile(path: string): number {
  const flags = openFlags.O_RDWR | openFlags.O_CREAT | openFlags.O_CLOEXEC;
  try {
    return openSync(path, flags, 0o600);
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw error;
  }
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  return openSync(path, flags, 0o600);
}

function isStillNamed(path: string, descriptor: number): boolean {
  const named = statSync(path, { throwIfNoEntry: false });
  const held = fstatSync(descriptor);
  return named !== undefined && named.ino === held.ino && named.dev === held.dev;
}

export interface Findings {
  readonly loops: readonly LoopFound[];
  readonly mounts: readonly FoundMount[];
}

export interface FoundMount extends NamespaceMount {
  readonly holder?: string;
}

/** Our loop devices, and their mounts in every mount namespace. */
export function findEverything(at: Surroundings): Findings {
  const loops = scanLoops(at);
  const devices = new Set(loops.map((found) => `${loopMajor}:${found.number}`));
  if (devices.size === 0) return { loops, mounts: [] };
  const mounts = mountsEverywhere(at.root, devices);
  return { loops, mounts: mounts.map((mount) => (mount.foreignNamespace ? withHolder(at.root, mount) : mount)) };
}

function withHolder(root: string, mount: NamespaceMount): FoundMount {
  return { ...mount, holder: describeProcess(root, mount.pid) };
}

/** Whether somebody has the device exclusively, such as a mount in a namespace that no process shows. */
export function isDeviceHeld(number: number): boolean {
  return isInUse(number);
}

export function findLoops(at: Surroundings): readonly LoopFound[] {
  return scanLoops(at);
}
