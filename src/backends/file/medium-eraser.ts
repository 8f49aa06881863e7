/**
 * Destroys the bytes of a medium and shows that they are gone: punched out where the filesystem can, else overwritten.
 *
 * Both are durable (fsync) before they are verified, and verified past the cache: a read served from the cache would
 * prove nothing about what a power cut leaves.
 */
import { limits } from '../../config/limits.ts';
import type { WipeProof } from '../../storage-node/storage-node.ts';
import type { MediumThreads } from './medium-threads.ts';
import type { VolumeLock } from './volume-lock.ts';

export class MediumEraser {
  readonly method: WipeProof['method'];
  readonly #threads: MediumThreads;

  constructor(threads: MediumThreads, canPunchHole: boolean) {
    this.#threads = threads;
    this.method = canPunchHole ? 'punch-hole' : 'zeroes';
  }

  /** Answers the bytes shown to be zero. Interrupted, it begins at 0 again. */
  async erase(path: string, lock: VolumeLock): Promise<number> {
    if (this.method === 'punch-hole') return await this.#threads.call('punchAndVerify', [path], lock);
    return await this.#overwrite(path, lock);
  }

  async #overwrite(path: string, lock: VolumeLock): Promise<number> {
    const sizeBytes = await this.#threads.call('fileSize', [path], lock);
    for (const [offset, lengthBytes] of chunksOf(sizeBytes)) {
      await this.#threads.call('writeZeroes', [path, offset, lengthBytes], lock);
    }
    await this.#threads.call('fsyncFile', [path], lock);
    for (const [offset, lengthBytes] of chunksOf(sizeBytes)) {
      await this.#threads.call('verifyZeroes', [path, offset, lengthBytes], lock);
    }
    return sizeBytes;
  }
}

/** Each small enough for the deadline of one call. */
function* chunksOf(sizeBytes: number): Generator<[offset: number, lengthBytes: number]> {
  for (let offset = 0; offset < sizeBytes; offset += limits.mediumZeroChunkBytes) {
    yield [offset, Math.min(limits.mediumZeroChunkBytes, sizeBytes - offset)];
  }
}
