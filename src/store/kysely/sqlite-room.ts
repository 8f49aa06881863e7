/**
 * Room on the disk that is the embedded store's whatever else fills it: owners write into sparse media beside it.
 *
 * The log has the blocks that it takes between two checkpoints from the start, and so has its index: on a full disk some
 * thousand changes can still be committed, to say so, and to delete volumes. Further files have blocks for the next starts,
 * each of which gives those of one up where it finds the disk full; it would fail again and again. All of it is beyond the
 * files' ends.
 *
 * SQLite cuts neither of its files while it has them open. The descriptors are kept for as long: closing any of a file's
 * descriptors drops the locks that this process has on it (https://www.sqlite.org/howtocorrupt.html, 2.2).
 */
import { closeSync, openSync, rmSync, statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { limits } from '../../config/limits.ts';
import { allocateAhead } from '../../system/allocate-ahead.ts';

/** Of `storeStartBytes`. Whoever filled the disk may take what one start gives up: the rest is for the starts that follow. */
const startShares = [1 / 2, 1 / 4, 1 / 8, 1 / 8];

interface Part {
  readonly fd: number;
  readonly bytes: number;
}

interface StartFile {
  readonly file: string;
  readonly bytes: number;
}

export class SqliteRoom {
  readonly #path: string;
  /** For this start. */
  readonly #givenUp: StartFile | null;
  #parts: readonly Part[] = [];
  #retry: NodeJS.Timeout | null = null;

  private constructor(path: string, givenUp: StartFile | null) {
    this.#path = path;
    this.#givenUp = givenUp;
  }

  /** Before the database is opened. */
  static forStart(path: string): SqliteRoom {
    return new SqliteRoom(path, availableBytes(path) < limits.storeStartBytes ? giveUpForStart(path) : null);
  }

  /** The database could not be opened: what that start gave up is for the next one. */
  takeBack(): void {
    if (this.#givenUp === null) return;
    const part = opened(this.#givenUp);
    isTaken(part);
    closeSync(part.fd);
  }

  /** Once the database is open. Where there is no room now, it is taken as soon as there is. */
  keep(): void {
    this.#parts = [
      { fd: openSync(`${this.#path}-wal`, 'r+'), bytes: limits.storeLogBytes },
      { fd: openSync(`${this.#path}-shm`, 'r+'), bytes: limits.storeLogIndexBytes },
      ...startFiles(this.#path).map(opened),
    ];
    this.#take();
  }

  /** The database is closed, and its log gone: of the blocks that it had the next start gets its own. */
  close(): void {
    if (this.#retry !== null) clearTimeout(this.#retry);
    const starts = this.#parts.slice(-startShares.length);
    for (const part of this.#parts) {
      if (starts.includes(part)) isTaken(part);
      closeSync(part.fd);
    }
  }

  #take(): void {
    // What was given up a moment ago is for whatever else the start has to write.
    if (availableBytes(this.#path) >= 2 * limits.storeStartBytes && this.#parts.every(isTaken)) return;
    this.#retry = setTimeout(() => this.#take(), limits.storeRoomRetryMs);
    this.#retry.unref();
  }
}

function opened({ file, bytes }: StartFile): Part {
  return { fd: openSync(file, 'a', 0o600), bytes };
}

function startFiles(path: string): readonly StartFile[] {
  return startShares.map((share, at) => ({
    file: at === 0 ? `${path}-room` : `${path}-room${at + 1}`,
    bytes: share * limits.storeStartBytes,
  }));
}

/** The largest that has any; null: none has. */
function giveUpForStart(path: string): StartFile | null {
  const first = startFiles(path).find(({ file }) => (statSync(file, { throwIfNoEntry: false })?.blocks ?? 0) > 0);
  if (first === undefined) return null;
  rmSync(first.file);
  return first;
}

function availableBytes(path: string): number {
  const { bavail, bsize } = statfsSync(dirname(path));
  return bavail * bsize;
}

function isTaken({ fd, bytes }: Part): boolean {
  return allocateAhead(fd, bytes);
}
