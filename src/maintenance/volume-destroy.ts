import { limits } from '../config/limits.ts';
import type { DestroyRequest, StorageNode } from '../storage-node/storage-node.ts';
import type { ErasureEffect, MaintenanceStore, VolumeSettle } from '../store/store.ts';
import { failedErasure } from './failed-erasure.ts';
import { Failures } from './failures.ts';
import { type Done, perNode } from './per-node.ts';
import type { Reconciler } from './reconciler.ts';

/** Volumes that no pool keeps: retired ones, those of drained pools, and returned ones that never had a pool. */
export class VolumeDestroy implements Reconciler {
  readonly name = 'volume-destroy';
  readonly #store: MaintenanceStore;
  readonly #nodes: ReadonlyMap<string, StorageNode>;
  #recoverAll = false;

  constructor(options: {
    readonly store: MaintenanceStore;
    readonly nodes: ReadonlyMap<string, StorageNode>;
  }) {
    this.#store = options.store;
    this.#nodes = options.nodes;
  }

  recover(): void {
    this.#recoverAll = true;
  }

  async run(): Promise<number> {
    const failures = new Failures();
    let changed = await this.#store.poolTrim();
    for (;;) {
      const taken = await this.#store.destroyTake({ all: this.#recoverAll, atMost: limits.wipeVolumes });
      this.#recoverAll = false;
      if (taken.length === 0) break;
      const on = { nodes: this.#nodes, failures };
      const settles = (await perNode(taken, on, (node, requests) => node.destroy(requests))).map(settleOf);
      if (settles.length > 0) await this.#store.destroySettle(settles);
      changed += failures.add(
        'destroyed',
        settles.map(({ result }) => result),
      );
      // What nobody answered stays taken until its lease is over.
      if (settles.length === 0 || taken.length < limits.wipeVolumes) break;
    }
    failures.tell();
    return changed;
  }
}

function settleOf({ effect, result }: Done<ErasureEffect<DestroyRequest>, null>): VolumeSettle {
  if (!result.ok) return failedErasure(effect, result.problem);
  const { volumeId, generation } = effect.request;
  return { volumeId, generation, result: { ok: true } };
}
