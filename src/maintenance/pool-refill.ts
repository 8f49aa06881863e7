import { limits } from '../config/limits.ts';
import type { Pool } from '../domain/pool.ts';
import type { ProvisionAnswer, ProvisionRequest, StorageNode } from '../storage-node/storage-node.ts';
import type { MaintenanceStore, PoolEffect, ResourceStore, VolumeSettle } from '../store/store.ts';
import { Failures } from './failures.ts';
import { type Done, perNode } from './per-node.ts';
import type { Reconciler } from './reconciler.ts';

/** Keeps every pool at its minimum of free volumes, made and formatted ahead of demand. */
export class PoolRefill implements Reconciler {
  readonly name = 'pool-refill';
  readonly #store: MaintenanceStore & Pick<ResourceStore, 'poolList'>;
  readonly #nodes: ReadonlyMap<string, StorageNode>;
  #recoverAll = false;

  constructor(options: {
    readonly store: MaintenanceStore & Pick<ResourceStore, 'poolList'>;
    readonly nodes: ReadonlyMap<string, StorageNode>;
  }) {
    this.#store = options.store;
    this.#nodes = options.nodes;
  }

  recover(): void {
    this.#recoverAll = true;
  }

  async run(): Promise<number> {
    const abandoned = await this.#store.refillRecover({ all: this.#recoverAll, atMost: limits.refillRecoverVolumes });
    this.#recoverAll = this.#recoverAll && abandoned.length === limits.refillRecoverVolumes;
    const failures = new Failures();
    let made = await this.#provision(abandoned, failures);
    for (const pool of await this.#poolsInNeed()) made += await this.#refill(pool, failures);
    failures.tell();
    return made;
  }

  async #poolsInNeed(): Promise<string[]> {
    const { items } = await this.#store.poolList({ pageSize: limits.pools, pageToken: null });
    const failedWipes = await this.#store.wipesFailed();
    return items.filter((pool) => isInNeed(pool, failedWipes.get(pool.name) ?? 0)).map(({ name }) => name);
  }

  async #refill(pool: string, failures: Failures): Promise<number> {
    let made = 0;
    // A few at first, so that a dry pool has something at once; then ever more of them in one commit.
    for (let atMost: number = limits.refillVolumes; ; atMost = Math.min(2 * atMost, limits.refillVolumesMax)) {
      const reserved = await this.#store.refillReserve(pool, atMost);
      if (reserved.length === 0) return made;
      const succeeded = await this.#provision(reserved, failures);
      made += succeeded;
      // What failed is not asked for again at once: the next run does.
      if (succeeded < reserved.length) return made;
    }
  }

  async #provision(effects: readonly PoolEffect<ProvisionRequest>[], failures: Failures): Promise<number> {
    const on = { nodes: this.#nodes, failures };
    const settles = (await perNode(effects, on, (node, requests) => node.provision(requests))).map(settleOf);
    if (settles.length > 0) await this.#store.refillSettle(settles);
    return failures.add(
      'made',
      settles.map(({ result }) => result),
    );
  }
}

function settleOf({ effect, result }: Done<PoolEffect<ProvisionRequest>, ProvisionAnswer>): VolumeSettle {
  const { volumeId, generation } = effect.request;
  if (!result.ok) return { volumeId, generation, result: { ...result, quarantine: false } };
  return { volumeId, generation, result: { ok: true, formatted: result.value.formatted } };
}

/**
 * Returned volumes are about to be free again, but for those whose wipe did not succeed; only a pool that runs dry does
 * not wait for them.
 */
function isInNeed({ state, minFree, status }: Pool, failedWipes: number): boolean {
  if (state !== 'active' || status.blockedReason !== null) return false;
  const returning = status.free * 2 > minFree ? status.wiping - failedWipes : 0;
  return status.free + status.provisioning + returning < minFree;
}
