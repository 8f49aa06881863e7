import type { DestroyRequest, ProvisionRequest, WipeRequest } from '../../storage-node/storage-node.ts';
import type {
  ErasureEffect,
  MaintenanceStore,
  NodeIntent,
  NodeInventoryKeys,
  PoolEffect,
  StoreCounters,
  VolumeSettle,
} from '../store.ts';
import { leasesCurtail } from './clock-set-back.ts';
import { counters } from './counters.ts';
import type { Database } from './database.ts';
import { destroySettle, destroyTake } from './destroy.ts';
import { freeVolumesDistrust } from './distrust.ts';
import type { TakeOptions } from './erasure.ts';
import { hostsExpire } from './host.ts';
import { generationRaise, leaseDrop, leaseHeld, leaseTake, type Stamp, storeReplaces, storeStamp } from './lease.ts';
import { nodeIntent } from './node-intent.ts';
import { poolBlock } from './pool.ts';
import { poolTrim } from './pool-trim.ts';
import { refillRecover, refillReserve, refillSettle } from './refill.ts';
import { type RetentionLimits, retentionPurge } from './retention.ts';
import { storageNodeSeen } from './storage-node.ts';
import { wipeBacklog, wipeSettle, wipesFailed, wipeTake } from './wipe.ts';

/**
 * What the reconcilers ask of the store, one file a subject. Each method looks before it commits: a run that finds
 * nothing to do writes nothing.
 */
export class KyselyMaintenanceStore implements MaintenanceStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  storeStamp(): Promise<Stamp> {
    return storeStamp(this.#database);
  }

  generationRaise(above: number): Promise<void> {
    return generationRaise(this.#database, above);
  }

  storeReplaces(former: string | null): Promise<void> {
    return storeReplaces(this.#database, former);
  }

  freeVolumesDistrust(storageNode: string): Promise<number> {
    return freeVolumesDistrust(this.#database, storageNode);
  }

  leasesCurtail(): Promise<number> {
    return leasesCurtail(this.#database);
  }

  leaseTake(name: string, owner: string, ttlMs: number): Promise<number | null> {
    return leaseTake(this.#database, name, { owner, ttlMs });
  }

  leaseDrop(name: string, owner: string): Promise<void> {
    return leaseDrop(this.#database, name, owner);
  }

  leaseHeld(name: string): Promise<boolean> {
    return leaseHeld(this.#database, name);
  }

  refillReserve(pool: string, atMost: number): Promise<readonly PoolEffect<ProvisionRequest>[]> {
    return refillReserve(this.#database, pool, atMost);
  }

  refillRecover(options: TakeOptions): Promise<readonly PoolEffect<ProvisionRequest>[]> {
    return refillRecover(this.#database, options);
  }

  refillSettle(results: readonly VolumeSettle[]): Promise<void> {
    return refillSettle(this.#database, results);
  }

  wipeTake(options: TakeOptions): Promise<readonly ErasureEffect<WipeRequest>[]> {
    return wipeTake(this.#database, options);
  }

  wipeSettle(results: readonly VolumeSettle[]): Promise<void> {
    return wipeSettle(this.#database, results);
  }

  destroyTake(options: TakeOptions): Promise<readonly ErasureEffect<DestroyRequest>[]> {
    return destroyTake(this.#database, options);
  }

  destroySettle(results: readonly VolumeSettle[]): Promise<void> {
    return destroySettle(this.#database, results);
  }

  wipeBacklog(): Promise<number> {
    return wipeBacklog(this.#database);
  }

  wipesFailed(): Promise<ReadonlyMap<string, number>> {
    return wipesFailed(this.#database);
  }

  poolTrim(): Promise<number> {
    return poolTrim(this.#database);
  }

  poolBlock(pool: string, reason: string | null): Promise<void> {
    return poolBlock(this.#database, pool, reason);
  }

  async storageNodeSeen(storageNode: string): Promise<void> {
    await storageNodeSeen(this.#database, storageNode);
  }

  nodeIntent(storageNode: string, about: NodeInventoryKeys): Promise<NodeIntent> {
    return nodeIntent(this.#database, storageNode, about);
  }

  hostsExpire(silentMs: number): Promise<readonly string[]> {
    return hostsExpire(this.#database, silentMs);
  }

  retentionPurge(limits: RetentionLimits): Promise<number> {
    return retentionPurge(this.#database, limits);
  }

  counters(): Promise<StoreCounters> {
    return counters(this.#database);
  }
}
