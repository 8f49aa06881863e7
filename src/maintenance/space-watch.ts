import { limits } from '../config/limits.ts';
import type { StorageNode } from '../storage-node/storage-node.ts';
import type { MaintenanceStore, StoreCounters } from '../store/store.ts';
import type { Reconciler } from './reconciler.ts';

const prefix = 'out of space';

type WatchedStore = Pick<MaintenanceStore, 'poolBlock'> & { counters(): Promise<Pick<StoreCounters, 'pools'>> };

/**
 * Sparse volumes can promise more than there is. Once nothing is left beyond the reserve, no volume of a pool is made or
 * handed out, so that owners' writes and the journal keep what is left; with some slack above it pools open again by
 * themselves. What a node says to be available is beyond its reserve already.
 */
export class SpaceWatch implements Reconciler {
  readonly name = 'space-watch';
  readonly #store: WatchedStore;
  readonly #nodes: ReadonlyMap<string, Pick<StorageNode, 'name' | 'space'>>;

  constructor(options: {
    readonly store: WatchedStore;
    readonly nodes: ReadonlyMap<string, Pick<StorageNode, 'name' | 'space'>>;
  }) {
    this.#store = options.store;
    this.#nodes = options.nodes;
  }

  async run(): Promise<number> {
    let changed = 0;
    const { pools } = await this.#store.counters();
    for (const node of this.#nodes.values()) {
      const { totalBytes, availableBytes } = await node.space();
      const percent = (availableBytes / totalBytes) * 100;
      for (const pool of pools.filter(({ storageNode }) => storageNode === node.name)) {
        changed += await this.#judge(pool.name, pool.status.blockedReason, percent, node.name);
      }
    }
    return changed;
  }

  async #judge(pool: string, blocked: string | null, percent: number, node: string): Promise<number> {
    if (blocked === null && percent === 0) {
      const reason = `${prefix}: storage node "${node}" has nothing left beyond its reserve (storageNode.reservePercent)`;
      await this.#store.poolBlock(pool, reason);
      return 1;
    }
    if (blocked?.startsWith(prefix) !== true || percent < limits.spaceSlackPercent) return 0;
    await this.#store.poolBlock(pool, null);
    return 1;
  }
}
