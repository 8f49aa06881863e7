/**
 * Keeps part of the filesystem free: media must not starve the journal that shares it.
 *
 * What running actions have been admitted for counts as used until they end, so that they cannot pass the check together.
 */
import { statfs } from 'node:fs/promises';
import { formatByteCount } from '../../domain/byte-count.ts';
import { Failure } from '../../domain/errors.ts';
import type { Space } from '../../storage-node/storage-node.ts';

export interface ReserveSize {
  readonly reserveBytes: number;
  readonly reservePercent: number;
}

export class SpaceReserve {
  readonly #directory: string;
  readonly #size: ReserveSize;
  #admittedBytes = 0;

  constructor(directory: string, size: ReserveSize) {
    this.#directory = directory;
    this.#size = size;
  }

  /** What is there, and what may be taken of it. */
  async space(): Promise<Space> {
    const { bsize, blocks, bavail } = await statfs(this.#directory);
    const totalBytes = bsize * blocks;
    const keptBytes = Math.max(this.#size.reserveBytes, Math.floor((totalBytes * this.#size.reservePercent) / 100));
    return { totalBytes, availableBytes: Math.max(0, bsize * bavail - keptBytes) };
  }

  /** Runs the action when that many bytes may be taken; otherwise `out-of-space`. */
  async admit<T>(neededBytes: number, action: () => Promise<T>): Promise<T> {
    this.#admittedBytes += neededBytes;
    try {
      const { availableBytes } = await this.space();
      if (availableBytes < this.#admittedBytes) {
        const [needed, available] = [formatByteCount(neededBytes), formatByteCount(availableBytes)];
        throw new Failure('out-of-space', `${needed} are needed, ${available} may still be taken.`);
      }
      return await action();
    } finally {
      this.#admittedBytes -= neededBytes;
    }
  }
}
