/**
 * One process per data directory: a second one would write the same files and answer for the same volumes.
 *
 * A flock, so that it ends with the process however that dies. The file holds the pid, for people; it is never removed,
 * since a lock on a removed file would keep nobody out.
 */
import { constants, type FileHandle, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tryLockExclusively } from '../../native-bindings/file.ts';
import { Failure } from '../domain/errors.ts';
import { makeDirectoryDurably } from './durable-file.ts';

const lockFileName = 'lock';

/** A handle that nobody refers to is closed by the garbage collector, and the lock with it. */
const held = new Set<FileHandle>();

export interface DirectoryLock {
  release(): Promise<void>;
}

/** `directory-in-use` names the directory and the process that holds it. Makes the directory when it is missing. */
export async function lockDirectory(path: string): Promise<DirectoryLock> {
  await makeDirectoryDurably(path);
  const lockPath = join(path, lockFileName);
  const file = await open(lockPath, constants.O_RDWR | constants.O_CREAT, 0o600);
  try {
    if (!tryLockExclusively(file.fd)) throw await inUse(path, lockPath);
    // Over what is there: on a full disk a block that is given up is gone.
    const { bytesWritten } = await file.write(`${process.pid}\n`, 0);
    await file.truncate(bytesWritten);
  } catch (error) {
    await file.close();
    throw error;
  }
  held.add(file);
  return {
    release: async () => {
      held.delete(file);
      await file.close();
    },
  };
}

async function inUse(path: string, lockPath: string): Promise<Failure> {
  const pid = (await readFile(lockPath, 'utf8')).trim();
  const holder = pid === '' ? 'another process' : `process ${pid}`;
  return new Failure('directory-in-use', `${path} is in use by ${holder}.`, { related: { directory: path, pid } });
}
