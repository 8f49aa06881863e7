import { limits } from '../config/limits.ts';
import type { StorageNode } from '../storage-node/storage-node.ts';
import type { MaintenanceStore, VolumeSettle } from '../store/store.ts';
import { Failures } from './failures.ts';
import { perNode } from './per-node.ts';
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
      const done = await perNode(taken, this.#nodes, (node, requests) => node.destroy(requests));
      const settles = done.map(({ request: { volumeId, generation }, result }): VolumeSettle => {
        return { volumeId, generation, result: result.ok ? { ok: true } : { ...result, quarantine: false } };
      });
      if (settles.length > 0) await this.#store.destroySettle(settles);
      failures.add(settles);
      changed += settles.filter(({ result }) => result.ok).length;
      if (taken.length < limits.wipeVolumes) break;
    }
    failures.tell('destroyed');
    return changed;
  }
}
