/**
 * The calls on media that can wait for a disk, as plain functions: they run on blocking threads (`medium-threads.ts`).
 *
 * Each opens what it needs and closes it again, and can be repeated. Errors are the system's; the caller translates.
 */
import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { allocate, dropCache, punchHole, seekData, seekHole } from '../../../native-bindings/file.ts';
import { releaseLease, tryWriteLease } from '../../../native-bindings/libc.ts';
import { limits } from '../../config/limits.ts';
import { Failure } from '../../domain/errors.ts';
import { systemCodeOf } from '../../system/system-call-error.ts';
import { type MediumName, parseMediumFileName } from './medium-name.ts';

export interface FileFound {
  readonly fileName: string;
  readonly sizeBytes: number;
  readonly allocatedBytes: number;
}

/** stat(2): st_blocks counts 512 bytes, whatever the filesystem's block is. */
const statBlockBytes = 512;

/** Every file of the directory. One that vanishes meanwhile is left out; an unreadable one throws. */
export function listFiles(directory: string): FileFound[] {
  const found: FileFound[] = [];
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const stat = statSync(join(directory, entry.name), { throwIfNoEntry: false });
    if (stat === undefined) continue;
    const { size: sizeBytes, blocks } = stat;
    found.push({ fileName: entry.name, sizeBytes, allocatedBytes: blocks * statBlockBytes });
  }
  return found;
}

/** A new file of zeroes; with `full`, all of its blocks are its own. An error leaves nothing behind. */
export function createZeroed(path: string, sizeBytes: number, full: boolean): void {
  withFile(path, 'wx', (fd) => {
    try {
      ftruncateSync(fd, sizeBytes);
      if (full) allocate(fd, 0, sizeBytes);
    } catch (error) {
      unlinkSync(path);
      throw error;
    }
  });
}

export function fsyncFile(path: string): void {
  withFile(path, 'r+', fsyncSync);
}

/** Whether the filesystem frees ranges: tried on a file of its own. */
export function probePunchHole(path: string): boolean {
  try {
    withFile(path, 'w', (fd) => {
      ftruncateSync(fd, 4096);
      punchHole(fd, 0, 4096);
    });
    return true;
  } catch (error) {
    if (systemCodeOf(error) === 'EOPNOTSUPP') return false;
    throw error;
  } finally {
    unlinkSync(path);
  }
}

/**
 * Frees every block of the file, makes that durable, and shows it: no data by SEEK_DATA after the fsync (what a
 * filesystem keeps, e.g. a last partial block, must read as zeroes), and samples read past the cache. Answers the bytes
 * shown to be zero. `medium-not-empty` when any is not.
 */
export function punchAndVerify(path: string): number {
  withFile(path, 'r+', (fd) => {
    const sizeBytes = fstatSync(fd).size;
    if (sizeBytes > 0) punchHole(fd, 0, sizeBytes);
    fsyncSync(fd);
  });
  return verifyEmpty(path);
}

/** The second half of `punchAndVerify`. */
export function verifyEmpty(path: string): number {
  return withFile(path, 'r', (fd) => {
    const sizeBytes = fstatSync(fd).size;
    dropCache(fd);
    verifyDataExtents(fd, path, sizeBytes);
    verifySamples(fd, path, sizeBytes);
    return sizeBytes;
  });
}

export function fileSize(path: string): number {
  return statSync(path).size;
}

/** For filesystems that cannot free ranges. Not durable before `fsyncFile`. */
export function writeZeroes(path: string, offset: number, lengthBytes: number): void {
  const zeroes = Buffer.alloc(Math.min(lengthBytes, 1024 * 1024));
  withFile(path, 'r+', (fd) => {
    for (let done = 0; done < lengthBytes; ) {
      done += writeSync(fd, zeroes, 0, Math.min(zeroes.length, lengthBytes - done), offset + done);
    }
  });
}

/** Reads the range past the cache. `medium-not-empty` when it is not all zero. */
export function verifyZeroes(path: string, offset: number, lengthBytes: number): void {
  withFile(path, 'r', (fd) => {
    dropCache(fd);
    expectZeroes(fd, path, offset, lengthBytes);
  });
}

/**
 * Whether each of the files is there and nobody at all has it open: no process, and no loop device. One lease says so at
 * once, and is given back at once; where it is refused, only a scan of all devices can tell who it is.
 */
export function areUnopened(paths: readonly string[]): boolean {
  return paths.every(isUnopened);
}

function isUnopened(path: string): boolean {
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return false;
  return withFile(path, 'r+', (fd) => {
    if (!tryWriteLease(fd)) return false;
    releaseLease(fd);
    return true;
  });
}

/**
 * The media of the directory (its real path) that loop devices have as backing files, deleted ones included.
 *
 * A loop device shows the path as its opener's mount namespace has it. A medium's file name under another path counts,
 * unless that path leads, here, to a file that is another one.
 */
export function listLoopMedia(sysfsRoot: string, directory: string): MediumName[] {
  const blockDirectory = join(sysfsRoot, 'block');
  const found: MediumName[] = [];
  for (const name of readdirSync(blockDirectory)) {
    if (!name.startsWith('loop')) continue;
    const backingFile = readBackingFile(join(blockDirectory, name, 'loop'));
    const medium = backingFile === null ? null : parseMediumFileName(basename(backingFile));
    if (backingFile !== null && medium !== null && isIn(directory, backingFile)) found.push(medium);
  }
  return found;
}

/** Whether a superblock is there: ext4 at byte 1080 (0xEF53, little-endian), XFS at byte 0 ("XFSB"). */
export function hasFilesystem(path: string): boolean {
  return withFile(path, 'r', (fd) => {
    const head = Buffer.alloc(2048);
    const length = readSync(fd, head, 0, head.length, 0);
    if (length < head.length) return false;
    return head.readUInt16LE(1080) === 0xef53 || head.toString('latin1', 0, 4) === 'XFSB';
  });
}

const deletedSuffix = ' (deleted)';

/** Most devices are unbound where many were once bound; to find no directory costs far less than an error does. */
function readBackingFile(loopDirectory: string): string | null {
  if (statSync(loopDirectory, { throwIfNoEntry: false }) === undefined) return null;
  try {
    const shown = readFileSync(join(loopDirectory, 'backing_file'), 'utf8').replace(/\n$/, '');
    return shown.endsWith(deletedSuffix) ? shown.slice(0, -deletedSuffix.length) : shown;
  } catch (error) {
    if (isUnbound(error)) return null;
    throw error;
  }
}

function isIn(directory: string, backingFile: string): boolean {
  if (dirname(backingFile) === directory) return true;
  const there = statSync(backingFile, { throwIfNoEntry: false });
  if (there === undefined) return true;
  const ours = statSync(join(directory, basename(backingFile)), { throwIfNoEntry: false });
  return ours !== undefined && ours.ino === there.ino && ours.dev === there.dev;
}

/** An unbound loop device has no `loop` directory; one that is being unbound answers ENXIO or ENODEV. */
function isUnbound(error: unknown): boolean {
  const code = systemCodeOf(error);
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENXIO' || code === 'ENODEV';
}

function verifyDataExtents(fd: number, path: string, sizeBytes: number): void {
  for (let at = seekData(fd, 0); at !== null && at < sizeBytes; ) {
    const end = Math.min(seekHole(fd, at) ?? sizeBytes, sizeBytes);
    expectZeroes(fd, path, at, end - at);
    at = seekData(fd, end);
  }
}

/** Both ends and evenly between. */
function verifySamples(fd: number, path: string, sizeBytes: number): void {
  const lengthBytes = Math.min(limits.mediumVerifySampleBytes, sizeBytes);
  const steps = limits.mediumVerifySamples - 1;
  for (let sample = 0; sample <= steps; sample += 1) {
    expectZeroes(fd, path, Math.floor(((sizeBytes - lengthBytes) * sample) / steps), lengthBytes);
  }
}

function expectZeroes(fd: number, path: string, offset: number, lengthBytes: number): void {
  const buffer = Buffer.alloc(Math.min(lengthBytes, 1024 * 1024));
  for (let done = 0; done < lengthBytes; ) {
    const length = readSync(fd, buffer, 0, Math.min(buffer.length, lengthBytes - done), offset + done);
    if (length === 0)
      throw new Failure('device-error', `${path} ended at byte ${offset + done} while it was verified.`);
    if (!isZero(buffer.subarray(0, length))) {
      throw new Failure('medium-not-empty', `${path} still holds data near byte ${offset + done} after it was wiped.`);
    }
    done += length;
  }
}

const zeroBlock = Buffer.alloc(1024 * 1024);

function isZero(buffer: Buffer): boolean {
  return buffer.equals(zeroBlock.subarray(0, buffer.length));
}

function withFile<T>(path: string, flags: string, use: (fd: number) => T): T {
  const fd = openSync(path, flags, 0o600);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}
