/**
 * Which store the bytes beside this file belong to, and how far that store had come.
 *
 * A store with another id, or one that fell behind (a restored backup, a promoted standby), must not reconcile customers'
 * volumes away: it is refused until somebody adopts the data for it.
 */
import { Failure } from '../domain/errors.ts';
import { readJson, replaceJson, replaceJsonIfFits } from '../system/durable-file.ts';
import type { StoreStamp } from './storage-node.ts';

export class StampFile {
  readonly #path: string;
  #stamp: StoreStamp | null;
  #isWritten = true;

  private constructor(path: string, stamp: StoreStamp | null) {
    this.#path = path;
    this.#stamp = stamp;
  }

  static async open(path: string): Promise<StampFile> {
    const content = await readJson(path);
    return new StampFile(path, content === null ? null : parseStamp(path, content));
  }

  get stamp(): StoreStamp | null {
    return this.#stamp;
  }

  /**
   * Durable when it resolves; a stamp that only rises is written later where the disk is full, or the node could not start.
   * Whose the data is stands there, and the fence knows each generation that changed any of it. `store-foreign` for another
   * store or a lower generation, unless `adopt`.
   */
  async set(next: StoreStamp, adopt: boolean): Promise<void> {
    if (!adopt) refuseForeign(this.#stamp, next);
    const { storeId, highestGeneration } = next;
    const isKnown = storeId === this.#stamp?.storeId;
    if (isKnown && highestGeneration === this.#stamp?.highestGeneration && this.#isWritten) return;
    const stamp = { storeId, highestGeneration };
    if (isKnown && !adopt) this.#isWritten = await replaceJsonIfFits(this.#path, stamp);
    else {
      await replaceJson(this.#path, stamp);
      this.#isWritten = true;
    }
    this.#stamp = stamp;
  }
}

export function refuseForeign(present: StoreStamp | null, next: StoreStamp): void {
  if (present === null) return;
  if (present.storeId !== next.storeId) {
    throw new Failure('store-foreign', `The data belongs to store ${present.storeId}, not to ${next.storeId}.`);
  }
  if (next.highestGeneration < present.highestGeneration) {
    const detail = `The data is at generation ${present.highestGeneration}, the store only at ${next.highestGeneration}.`;
    throw new Failure('store-foreign', detail);
  }
}

function parseStamp(path: string, content: unknown): StoreStamp {
  if (typeof content === 'object' && content !== null && 'storeId' in content && 'highestGeneration' in content) {
    const { storeId, highestGeneration } = content;
    if (typeof storeId === 'string' && typeof highestGeneration === 'number') return { storeId, highestGeneration };
  }
  throw new Failure('data-damaged', `${path} holds no stamp.`);
}
