import { limits } from '../config/limits.ts';
import type { StorageNode, WipeAnswer, WipeRequest } from '../storage-node/storage-node.ts';
import type { ErasureEffect, MaintenanceStore, VolumeSettle } from '../store/store.ts';
import { failedErasure } from './failed-erasure.ts';
import { Failures } from './failures.ts';
import { type Done, perNode } from './per-node.ts';
import type { Reconciler } from './reconciler.ts';

/** Returned volumes: the old owner's bytes are destroyed provably, then the volume is free under a new identity. */
export class VolumeWipe implements Reconciler {
  readonly name = 'volume-wipe';
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
    let wiped = 0;
    for (;;) {
      const taken = await this.#store.wipeTake({ all: this.#recoverAll, atMost: limits.wipeVolumes });
      this.#recoverAll = false;
      if (taken.length === 0) break;
      const on = { nodes: this.#nodes, failures };
      const settles = (await perNode(taken, on, (node, requests) => node.wipe(requests))).map(settleOf);
      if (settles.length > 0) await this.#store.wipeSettle(settles);
      wiped += failures.add(
        'wiped',
        settles.map(({ result }) => result),
      );
      // What nobody answered stays taken until its lease is over.
      if (settles.length === 0 || taken.length < limits.wipeVolumes) break;
    }
    failures.tell();
    return wiped;
  }
}

function settleOf({ effect, result }: Done<ErasureEffect<WipeRequest>, WipeAnswer>): VolumeSettle {
  if (!result.ok) return failedErasure(effect, result.problem);
  const { volumeId, generation } = effect.request;
  return { volumeId, generation, result: { ok: true, ...result.value } };
}
