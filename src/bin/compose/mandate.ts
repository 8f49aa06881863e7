/**
 * Whether this process may act on its storage nodes: their data belongs to this store, and no other process can be at
 * the same. Where it begins to act, or begins again, nothing in flight is anybody's any more, and is taken up at once.
 */
import type { Logger } from 'pino';
import { Failure } from '../../domain/errors.ts';
import type { Maintenance } from '../../maintenance/maintenance.ts';
import { Ownership } from '../../maintenance/ownership.ts';
import type { PartCondition } from '../../operations/control-plane.ts';
import type { StorageNode } from '../../storage-node/storage-node.ts';
import type { Store } from '../../store/store.ts';
import type { NodeLease } from './node-lease.ts';

export type WorkerLease = Pick<NodeLease, 'mayAct' | 'trouble' | 'leads' | 'term'>;

export interface MandateOptions {
  readonly store: Store;
  readonly nodes: readonly StorageNode[];
  /** Null: no other process can be on this store. */
  readonly lease: WorkerLease | null;
  readonly log: Pick<Logger, 'error'>;
}

export class Mandate {
  readonly ownership: Ownership;
  readonly #options: MandateOptions;

  constructor(options: MandateOptions) {
    this.#options = options;
    this.ownership = new Ownership(options.store);
  }

  mayAct(): boolean {
    const { lease } = this.#options;
    return this.ownership.foreign.size === 0 && (lease === null || lease.mayAct());
  }

  async recover(maintenance: Pick<Maintenance, 'recover'>): Promise<void> {
    const { nodes } = this.#options;
    await Promise.all(nodes.map((node) => this.isOurs(node.name)));
    await this.#recoverEffects(maintenance);
  }

  /** Asked when there is reason to doubt it; where it is not, nothing more is begun. */
  async isOurs(name: string): Promise<boolean> {
    if (await this.ownership.isOurs(this.#node(name))) return true;
    this.#options.log.error({ storageNode: name }, this.ownership.foreign.get(name) ?? "the data is not this store's");
    return false;
  }

  #node(name: string): StorageNode {
    const node = this.#options.nodes.find((each) => each.name === name);
    if (node !== undefined) return node;
    throw new Failure('storage-node-not-found', `Storage node "${name}" is not connected to this controller.`);
  }

  /** A person's word that the node's data is this store's. */
  async adopt(name: string, maintenance: Pick<Maintenance, 'recover'>): Promise<void> {
    const node = this.#node(name);
    const trouble = this.#options.lease?.trouble ?? null;
    if (trouble !== null) throw new Failure('storage-node-unavailable', trouble);
    await this.ownership.adopt(node);
    await this.#recoverEffects(maintenance);
  }

  /** For readyz. What is asked for is carried out by whoever has the lease instead, which is not for this one to say. */
  get unready(): readonly PartCondition[] {
    const foreign = [...this.ownership.foreign].map(([node, reason]) => ({ part: `storage-node ${node}`, reason }));
    const trouble = this.#options.lease?.trouble ?? null;
    return trouble === null ? foreign : [...foreign, { part: 'worker', reason: trouble }];
  }

  async #recoverEffects(maintenance: Pick<Maintenance, 'recover'>): Promise<void> {
    if (this.ownership.foreign.size > 0) return;
    await this.#options.store.effectsRecover({ all: true });
    maintenance.recover();
  }
}
