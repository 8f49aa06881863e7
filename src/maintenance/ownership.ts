import { Failure } from '../domain/errors.ts';
import type { StorageNode } from '../storage-node/storage-node.ts';
import type { MaintenanceStore } from '../store/store.ts';
import { KeyedMutex } from '../system/keyed-mutex.ts';

/**
 * Whether the data on a storage node belongs to this store. Beside the data stand the UUID of the store that owns it and
 * the highest generation that it had issued: with an empty, restored or lagging database behind it, "not wanted" says
 * nothing, and cleaning up would delete customers' volumes. `adopt` is a person's word that this store is the one.
 */
export class Ownership {
  readonly #store: MaintenanceStore;
  readonly #foreign = new Map<string, string>();
  readonly #checks = new KeyedMutex();

  constructor(store: MaintenanceStore) {
    this.#store = store;
  }

  /** By node: why nothing of it is touched. */
  get foreign(): ReadonlyMap<string, string> {
    return this.#foreign;
  }

  /** Checks, stamps unstamped data, and raises the stamp to what the store has issued. */
  isOurs(node: StorageNode): Promise<boolean> {
    return this.#checks.run(node.name, () => this.#check(node));
  }

  async #check(node: StorageNode): Promise<boolean> {
    // The data first: what is stamped there meanwhile has been issued by the time that the store is asked.
    const there = await node.stamp();
    const ours = await this.#store.storeStamp();
    const reason = there === null ? null : foreignReason(node.name, ours, there);
    if (reason === null) {
      await node.setStamp(ours);
      this.#foreign.delete(node.name);
      return true;
    }
    this.#foreign.set(node.name, reason);
    return false;
  }

  /** Binds the node's data to this store, and the store's generations above everything that was ever issued for it. */
  async adopt(node: StorageNode): Promise<void> {
    const there = await node.stamp();
    if (there !== null) await this.#store.generationRaise(there.highestGeneration);
    await this.#store.storeReplaces(there?.storeId ?? null);
    await this.#store.freeVolumesDistrust(node.name);
    await node.setStamp(await this.#store.storeStamp(), { adopt: true });
    if (!(await this.isOurs(node)))
      throw new Failure('store-foreign', this.#foreign.get(node.name) ?? 'The data could not be adopted.');
  }
}

interface Stamp {
  readonly storeId: string;
  readonly highestGeneration: number;
}

function foreignReason(node: string, ours: Stamp, there: Stamp): string | null {
  if (there.storeId !== ours.storeId) {
    return `The data of storage node "${node}" belongs to another store (${there.storeId}); if this one replaces it, run: fcr adopt --yes`;
  }
  if (there.highestGeneration <= ours.highestGeneration) return null;
  return `The store is behind the data of storage node "${node}" (generation ${ours.highestGeneration} < ${there.highestGeneration}): was it restored? If so, run: fcr adopt --yes`;
}
