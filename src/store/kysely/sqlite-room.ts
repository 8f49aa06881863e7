/**
 * Room on the disk that is the embedded store's whatever else fills it: owners write into sparse media beside it.
 *
 * The log has the blocks that it takes between two checkpoints from the start, and so has its index: on a full disk some
 * thousand changes can still be committed, to say so, and to delete volumes. A third file has blocks for the next start,
 * which gives them up where it finds the disk full; it would fail again and again. All of it is beyond the files' ends.
 *
 * SQLite cuts neither of its files while it has them open. The descriptors are kept for as long: closing any of a file's
 * descriptors drops the locks that this process has on it (https://www.sqlite.org/howtocorrupt.html, 2.2).
 */
import { closeSync, openSync, rmSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { limits } from '../../config/limits.ts';
import { allocateAhead } from '../../system/allocate-ahead.ts';

interface Part {
  readonly fd: number;
  readonly bytes: number;
}

export class SqliteRoom {
  readonly #path: string;
  #parts: readonly Part[] = [];
  #retry: NodeJS.Timeout | null = null;

  private constructor(path: string) {
    this.#path = path;
  }

  /** Before the database is opened. */
  static forStart(path: string): SqliteRoom {
    if (availableBytes(path) < limits.storeStartBytes) rmSync(startFile(path), { force: true });
    return new SqliteRoom(path);
  }

  /** Once the database is open. Where there is no room now, it is taken as soon as there is. */
  keep(): void {
    this.#parts = [
      { fd: openSync(`${this.#path}-wal`, 'r+'), bytes: limits.storeLogBytes },
      { fd: openSync(`${this.#path}-shm`, 'r+'), bytes: limits.storeLogIndexBytes },
      { fd: openSync(startFile(this.#path), 'a', 0o600), bytes: limits.storeStartBytes },
    ];
    this.#take();
  }

  /** The database is closed, and its log gone: of the blocks that it had the next start gets its own. */
  close(): void {
    if (this.#retry !== null) clearTimeout(this.#retry);
    const start = this.#parts.at(-1);
    for (const { fd } of this.#parts.slice(0, -1)) closeSync(fd);
    if (start === undefined) return;
    isTaken(start);
    closeSync(start.fd);
  }

  #take(): void {
    // What was given up a moment ago is for whatever else the start has to write.
    if (availableBytes(this.#path) >= 2 * limits.storeStartBytes && this.#parts.every(isTaken)) return;
    this.#retry = setTimeout(() => this.#take(), limits.storeRoomRetryMs);
    this.#retry.unref();
  }
}

function startFile(path: string): string {
  return `${path}-room`;
}

function availableBytes(path: string): number {
  const { bavail, bsize } = statfsSync(dirname(path));
  return bavail * bsize;
}

function isTaken({ fd, bytes }: Part): boolean {
  return allocateAhead(fd, bytes);
}
