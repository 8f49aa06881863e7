// File calls of Linux that Node does not offer. Each binding names the header that declares it; offsets are 64-bit on
// every platform that this is built for.
//
// flock with LOCK_NB and posix_fadvise return at once. The others can wait for a disk: they belong on a blocking thread.

import koffi from 'koffi';
import { errnoOf, SystemCallError } from '../src/system/system-call-error.ts';

const libc = koffi.load('libc.so.6');

/** <sys/file.h> */
const flock = libc.func('int flock(int fd, int operation)');
const LOCK_EX = 2;
const LOCK_NB = 4;

/** <fcntl.h>, flags in <linux/falloc.h> */
const fallocate = libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)');
const FALLOC_FL_KEEP_SIZE = 0x01;
const FALLOC_FL_PUNCH_HOLE = 0x02;

/** <unistd.h>, lseek(2) for SEEK_DATA and SEEK_HOLE */
const lseek = libc.func('int64_t lseek(int fd, int64_t offset, int whence)');
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** <fcntl.h>; answers the error number instead of setting errno */
const posixFadvise = libc.func('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)');
const POSIX_FADV_DONTNEED = 4;

/** Takes the exclusive lock if it is free. It belongs to the open file description: children that inherit it hold it. */
export function tryLockExclusively(fd: number): boolean {
  for (;;) {
    if (Number(flock(fd, LOCK_EX | LOCK_NB)) === 0) return true;
    const errno = koffi.errno();
    if (errno === errnoOf('EWOULDBLOCK')) return false;
    if (errno !== errnoOf('EINTR')) throw new SystemCallError('flock', errno);
  }
}

/** Gives the range blocks of its own, unwritten. */
export function allocate(fd: number, offset: number, lengthBytes: number): void {
  changeAllocation({ fd, mode: 0, offset, lengthBytes });
}

/** Gives the file blocks for its first bytes, also beyond its end, which stays where it is. */
export function allocateAhead(fd: number, lengthBytes: number): void {
  changeAllocation({ fd, mode: FALLOC_FL_KEEP_SIZE, offset: 0, lengthBytes });
}

/** Frees the blocks of the range; it reads as zeroes. `EOPNOTSUPP` where the filesystem cannot. */
export function punchHole(fd: number, offset: number, lengthBytes: number): void {
  changeAllocation({ fd, mode: FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, lengthBytes });
}

/** The next offset with data, from `offset` on; null when there is none. */
export function seekData(fd: number, offset: number): number | null {
  return seek(fd, offset, SEEK_DATA);
}

/** The next offset in a hole, the end of the file included; null beyond it. */
export function seekHole(fd: number, offset: number): number | null {
  return seek(fd, offset, SEEK_HOLE);
}

/** Drops the file's clean pages, so that the next read comes from the medium. */
export function dropCache(fd: number): void {
  const errno = Number(posixFadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
  if (errno !== 0) throw new SystemCallError('posix_fadvise', errno);
}

interface AllocationChange {
  readonly fd: number;
  readonly mode: number;
  readonly offset: number;
  readonly lengthBytes: number;
}

function changeAllocation({ fd, mode, offset, lengthBytes }: AllocationChange): void {
  for (;;) {
    if (Number(fallocate(fd, mode, offset, lengthBytes)) === 0) return;
    const errno = koffi.errno();
    if (errno !== errnoOf('EINTR')) throw new SystemCallError('fallocate', errno);
  }
}

function seek(fd: number, offset: number, whence: number): number | null {
  const found = Number(lseek(fd, offset, whence));
  if (found >= 0) return found;
  const errno = koffi.errno();
  if (errno === errnoOf('ENXIO')) return null;
  throw new SystemCallError('lseek', errno);
}
