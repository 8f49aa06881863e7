import type { DestroyRequest, StorageNode } from '../storage-node/storage-node.ts';
import type { ErasureEffect, MaintenanceStore } from '../store/store.ts';
import { ErasureRounds } from './erasure-rounds.ts';
import type { Reconciler } from './reconciler.ts';

/** Volumes that no pool keeps: retired ones, those of drained pools, and returned ones that never had a pool. */
export class VolumeDestroy implements Reconciler {
  readonly name = 'volume-destroy';
  readonly #store: MaintenanceStore;
  readonly #rounds: ErasureRounds<ErasureEffect<DestroyRequest>, null>;

  constructor(options: {
    readonly store: MaintenanceStore;
    readonly nodes: ReadonlyMap<string, StorageNode>;
  }) {
    const { store, nodes } = options;
    this.#store = store;
    this.#rounds = new ErasureRounds({
      nodes,
      deed: 'destroyed',
      take: (which) => store.destroyTake(which),
      erase: (node, requests) => node.destroy(requests),
      settle: (settles) => store.destroySettle(settles),
    });
  }

  recover(): void {
    this.#rounds.recover();
  }

  async run(): Promise<number> {
    const trimmed = await this.#store.poolTrim();
    return trimmed + (await this.#rounds.run());
  }
}
