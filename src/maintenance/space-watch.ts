import { limits } from '../config/limits.ts';
import type { StorageNode } from '../storage-node/storage-node.ts';
import type { MaintenanceStore } from '../store/store.ts';
import type { Reconciler } from './reconciler.ts';

const prefix = 'out of space';

/**
 * Sparse volumes can promise more than there is. Under the watermark no volume is made or handed out, so that owners'
 * writes and the journal keep what is left; above it (with some slack) pools open again by themselves.
 */
export class SpaceWatch implements Reconciler {
  readonly name = 'space-watch';
  readonly #store: MaintenanceStore;
  readonly #nodes: ReadonlyMap<string, StorageNode>;
  readonly #reservePercent: number;

  constructor(options: {
    readonly store: MaintenanceStore;
    readonly nodes: ReadonlyMap<string, StorageNode>;
    readonly reservePercent: number;
  }) {
    this.#store = options.store;
    this.#nodes = options.nodes;
    this.#reservePercent = options.reservePercent;
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
    if (blocked === null && percent < this.#reservePercent) {
      const reason = `${prefix}: storage node "${node}" has ${percent.toFixed(1)} % left, the reserve is ${this.#reservePercent} %`;
      await this.#store.poolBlock(pool, reason);
      return 1;
    }
    if (blocked?.startsWith(prefix) !== true || percent < this.#reservePercent + limits.spaceSlackPercent) return 0;
    await this.#store.poolBlock(pool, null);
    return 1;
  }
}
