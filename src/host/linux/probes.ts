// Tries out what the machine allows: makes a loop device and a mount, and removes them. Runs on blocking threads only.
// A crash leaves nothing: the device clears itself when its last descriptor goes, and the next probe removes the mount.

import { closeSync, ftruncateSync, mkdirSync, openSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { mount, mountFlags, openFlags } from '../../../native-bindings/libc.ts';
import { loopConfigure, loopFlags, loopGetFree, loopStatus } from '../../../native-bindings/loop.ts';
import { limits } from '../../config/limits.ts';
import { Failure } from '../../domain/errors.ts';
import { systemCodeOf } from '../../system/system-call-error.ts';
import { devicePath } from './loop-device.ts';
import { deviceIdOf, removeMountPoint, unmountCompletely } from './mounts.ts';

const probeBytes = 1024 * 1024;

/** Throws why no loop device can be had. */
export function probeLoop(directory: string): void {
  const path = join(directory, 'probe.img');
  const backing = openSync(path, openFlags.O_RDWR | openFlags.O_CREAT | openFlags.O_CLOEXEC, 0o600);
  try {
    ftruncateSync(backing, probeBytes);
    probeWith(backing);
  } finally {
    closeSync(backing);
    rmSync(path, { force: true });
  }
}

function probeWith(backing: number): void {
  const control = openSync('/dev/loop-control', openFlags.O_RDWR | openFlags.O_CLOEXEC);
  try {
    for (let attempt = 0; attempt < limits.loopCreateAttempts; attempt += 1) {
      if (probeDevice(loopGetFree(control), backing)) return;
    }
  } finally {
    closeSync(control);
  }
  throw new Failure('device-error', 'No free loop device could be had: others took each one first.');
}

/** False when somebody else was faster. */
function probeDevice(number: number, backing: number): boolean {
  const descriptor = openSync(devicePath(number), openFlags.O_RDWR | openFlags.O_CLOEXEC);
  try {
    loopConfigure(descriptor, { backingDescriptor: backing, flags: loopFlags.LO_FLAGS_AUTOCLEAR, mark: 'fcr:probe' });
    if (loopStatus(descriptor) !== null && hasExpectedNumber(number)) return true;
    throw new Failure('not-supported', `${devicePath(number)} does not look as expected (module option max_part?).`);
  } catch (error) {
    if (systemCodeOf(error) === 'EBUSY') return false;
    throw error;
  } finally {
    closeSync(descriptor);
  }
}

/** Mounts are recognised by their device's number, which the loop module's `max_part` would shift. */
function hasExpectedNumber(number: number): boolean {
  return statSync(devicePath(number)).rdev === deviceIdOf(number);
}

/** Throws why nothing can be mounted. */
export function probeMount(directory: string): void {
  const path = join(directory, 'probe');
  mkdirSync(path, { recursive: true, mode: 0o700 });
  try {
    unmountCompletely(path);
    mount('fcr-probe', path, 'tmpfs', mountFlags.MS_NOSUID | mountFlags.MS_NODEV, 'size=4096');
    unmountCompletely(path);
  } finally {
    removeMountPoint(path);
  }
}
