/**
 * The volume's flock: held by whoever changes its bytes, programs it started included.
 *
 * The descriptor is inherited by mkfs, so the lock outlives a killed parent for as long as the orphan writes; the next
 * action finds it taken. Relies on flock belonging to the open file description, and on the lock's file being removed
 * only by its holder (`remove`): a taker checks that what it locked is still what the name leads to.
 */
import type { FileHandle } from 'node:fs/promises';
import { open, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { tryLockExclusively } from '../../../native-bindings/file.ts';
import { Failure } from '../../domain/errors.ts';
import { isAbsent } from '../../system/durable-file.ts';

const firstPauseMs = 2;
const longestPauseMs = 100;

export interface VolumeLockOptions {
  readonly directory: string;
  readonly volumeId: string;
  readonly deadlineMs: number;
}

export class VolumeLock {
  readonly #path: string;
  readonly #file: FileHandle;
  #holders = 1;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  /** `device-busy` when somebody, e.g. an orphaned mkfs, still holds it at the deadline. */
  static async take({ directory, volumeId, deadlineMs }: VolumeLockOptions): Promise<VolumeLock> {
    const path = join(directory, `${volumeId}.lock`);
    const deadline = performance.now() + deadlineMs;
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
      const lock = await tryTake(path);
      if (lock !== null) return new VolumeLock(path, lock);
      if (performance.now() + pauseMs > deadline) {
        throw new Failure('device-busy', `Another action on the bytes of volume ${volumeId} has not ended.`);
      }
      await sleep(pauseMs);
    }
  }

  /** To be inherited by the programs that change the volume's bytes. */
  get fd(): number {
    return this.#file.fd;
  }

  /** Keeps the lock beyond `release` until the answer is called; calling it again does nothing. */
  retain(): () => void {
    this.#holders += 1;
    let held = true;
    return () => {
      if (held) void this.#drop();
      held = false;
    };
  }

  async release(): Promise<void> {
    await this.#drop();
  }

  /** Removes the lock's file, for a volume that is no more. */
  async remove(): Promise<void> {
    await rm(this.#path, { force: true });
  }

  async #drop(): Promise<void> {
    this.#holders -= 1;
    if (this.#holders === 0) await this.#file.close();
  }
}

async function tryTake(path: string): Promise<FileHandle | null> {
  const file = await open(path, 'a', 0o600);
  try {
    if (tryLockExclusively(file.fd) && (await isStillAt(path, file))) return file;
  } catch (error) {
    await file.close();
    throw error;
  }
  await file.close();
  return null;
}

async function isStillAt(path: string, file: FileHandle): Promise<boolean> {
  try {
    const [named, held] = await Promise.all([stat(path), file.stat()]);
    return named.ino === held.ino && named.dev === held.dev;
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}
