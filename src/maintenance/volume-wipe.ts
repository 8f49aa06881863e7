import type { StorageNode, WipeAnswer, WipeRequest } from '../storage-node/storage-node.ts';
import type { ErasureEffect, MaintenanceStore } from '../store/store.ts';
import { ErasureRounds } from './erasure-rounds.ts';
import type { Reconciler } from './reconciler.ts';

/** Returned volumes: the old owner's bytes are destroyed provably, then the volume is free under a new identity. */
export class VolumeWipe implements Reconciler {
  readonly name = 'volume-wipe';
  readonly #rounds: ErasureRounds<ErasureEffect<WipeRequest>, WipeAnswer>;

  constructor(options: {
    readonly store: MaintenanceStore;
    readonly nodes: ReadonlyMap<string, StorageNode>;
  }) {
    const { store, nodes } = options;
    this.#rounds = new ErasureRounds({
      nodes,
      deed: 'wiped',
      take: (which) => store.wipeTake(which),
      erase: (node, requests) => node.wipe(requests),
      settle: (settles) => store.wipeSettle(settles),
    });
  }

  recover(): void {
    this.#rounds.recover();
  }

  run(): Promise<number> {
    return this.#rounds.run();
  }
}
