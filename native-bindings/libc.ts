// The C library's calls that Node does not offer, one signature each, thin: an error return becomes a SystemCallError.
// Relies on: 64-bit Linux (x86_64, aarch64: the same values there), and on running in a thread that may block.
// A wrong signature here corrupts memory, so values and layouts name the header that they come from.

import { constants } from 'node:fs';
import koffi from 'koffi';
import { SystemCallError } from '../src/system/system-call-error.ts';

const library = koffi.load(null);

const ioctlPointer = library.func('ioctl', 'int', ['int', 'unsigned long', 'void *']);
const ioctlNumber = library.func('ioctl', 'int', ['int', 'unsigned long', 'long']);
const fcntlNumber = library.func('fcntl', 'int', ['int', 'int', 'long']);
const mountCall = library.func('mount', 'int', ['str', 'str', 'str', 'unsigned long', 'str']);
const umount2Call = library.func('umount2', 'int', ['str', 'int']);
const syncfsCall = library.func('syncfs', 'int', ['int']);

/** open(2) flags that `node:fs` has no name for; asm-generic/fcntl.h. */
export const openFlags = { ...constants, O_CLOEXEC: 0o2000000 } as const;

/** linux/mount.h */
export const mountFlags = {
  MS_RDONLY: 1,
  MS_NOSUID: 2,
  MS_NODEV: 4,
  MS_REMOUNT: 32,
  MS_BIND: 4096,
  MS_PRIVATE: 1 << 18,
} as const;

/** sys/mount.h */
const umountNoFollow = 8;

/** asm-generic/fcntl.h and linux/fcntl.h */
const fcntlCommands = { F_SETSIG: 10, F_SETLEASE: 1024 } as const;
const leaseTypes = { F_RDLCK: 0, F_WRLCK: 1, F_UNLCK: 2 } as const;
/** asm-generic/signal.h: ignored unless somebody asks for it. */
const signalUrgent = 23;

/** linux/fs.h */
const blockRequests = { BLKFLSBUF: 0x1261, BLKROGET: 0x125e } as const;

/** ioctl(2) with a buffer in and out. Returns the call's own value. */
export function ioctlBuffer(descriptor: number, request: number, buffer: Uint8Array, what: string): number {
  return checked('ioctl', ioctlPointer(descriptor, request, buffer), what);
}

/** ioctl(2) with a number. */
export function ioctlValue(descriptor: number, request: number, value: number, what: string): number {
  return checked('ioctl', ioctlNumber(descriptor, request, value), what);
}

/** mount(2); needs CAP_SYS_ADMIN. `null` stands for an argument that the kernel ignores. */
export function mount(
  source: string | null,
  target: string,
  filesystem: string | null,
  flags: number,
  data: string | null = null,
): void {
  checked('mount', mountCall(source, target, filesystem, flags, data), target);
}

/** umount2(2) of the topmost mount at exactly this path, never of what a symbolic link points to. */
export function unmount(target: string): void {
  checked('umount2', umount2Call(target, umountNoFollow), target);
}

/** syncfs(2): writes back all of the filesystem of an open file, and tells once of what could not be (Linux 5.8). */
export function syncFilesystem(descriptor: number, what: string): void {
  checked('syncfs', syncfsCall(descriptor), what);
}

/** Writes back and drops what the page cache holds of a block device. */
export function blockFlush(descriptor: number): void {
  ioctlValue(descriptor, blockRequests.BLKFLSBUF, 0, 'BLKFLSBUF');
}

export function blockIsReadOnly(descriptor: number): boolean {
  const answer = Buffer.alloc(4);
  ioctlBuffer(descriptor, blockRequests.BLKROGET, answer, 'BLKROGET');
  return answer.readInt32LE() !== 0;
}

/**
 * A write lease (fcntl(2), F_SETLEASE) on an open regular file. The kernel grants it only while no other open file
 * description of the inode exists anywhere: neither another process nor a loop device has it. While it is held, an
 * open(2) by others waits. The signal of a broken lease is made a harmless one: its default would end the process.
 */
export function tryWriteLease(descriptor: number): boolean {
  checked('fcntl', fcntlNumber(descriptor, fcntlCommands.F_SETSIG, signalUrgent), 'F_SETSIG');
  return fcntlNumber(descriptor, fcntlCommands.F_SETLEASE, leaseTypes.F_WRLCK) === 0;
}

export function releaseLease(descriptor: number): void {
  checked('fcntl', fcntlNumber(descriptor, fcntlCommands.F_SETLEASE, leaseTypes.F_UNLCK), 'F_SETLEASE');
}

function checked(syscall: string, result: number, what: string): number {
  if (result < 0) throw new SystemCallError(syscall, koffi.errno(), what);
  return result;
}
