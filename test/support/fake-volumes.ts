/**
 * The volumes and pools of a `FakeController`, as the frontends ask for them.
 *
 * Faults it can show: that of its controller (`away`), a token that may delete nothing (`keeps`), a volume that another host holds (`volume-in-use`), pools that do
 * not exist, are too small, or have nothing left (`exhausted`) or nothing yet (`wiping`).
 */
import { Failure } from '../../src/domain/errors.ts';
import type { Pool } from '../../src/domain/pool.ts';
import type { FilesystemType, Volume } from '../../src/domain/volume.ts';
import type { NewVolume } from '../../src/http/client.ts';
import type { Page } from '../../src/store/store.ts';
import type { FakeController } from './fake-controller.ts';

export class FakeVolumes {
  readonly created: NewVolume[] = [];
  readonly pools: Pool[] = [];
  /** Names of pools. */
  readonly exhausted = new Set<string>();
  /** Of exhausted pools, those of which somebody will see once that a volume is being wiped, before it is free. */
  readonly wiping = new Set<string>();
  keeps = false;
  readonly #controller: FakeController;

  constructor(controller: FakeController) {
    this.#controller = controller;
  }

  addPool(name: string, filesystem: FilesystemType, volumeSizeBytes: number): void {
    const status = { provisioning: 0, free: 1, allocated: 0, wiping: 0, failed: 0, retired: 0 };
    const fixed = { id: name, backend: 'file', storageNode: 'local', minFree: 1, maxVolumes: 9, version: 1 };
    const counted = { ...status, hits: 0, misses: 0, blockedReason: null };
    this.pools.push({ ...fixed, name, filesystem, volumeSizeBytes, state: 'active', createdAt: 0, status: counted });
  }

  async volumeCreate(wish: NewVolume): Promise<Volume> {
    this.#refuseWhileAway();
    const present = [...this.#controller.volumes.values()].find(({ name }) => name === wish.name);
    if (present !== undefined && wish.labels !== undefined && !sameLabels(wish.labels, present.labels)) {
      throw new Failure('name-taken', `A volume "${wish.name}" exists already, with another labels.`);
    }
    if (present !== undefined) return present;
    const pool = this.#poolOf(wish);
    this.created.push(wish);
    const { labels = {}, qosPolicy = null } = wish;
    const filesystem = pool?.filesystem ?? 'ext4';
    return this.#controller.addVolume(wish.name, { labels, qosPolicy, filesystem, formatted: false });
  }

  volumeGet(nameOrId: string): Promise<Volume | null> {
    return this.#controller.volumeGet(nameOrId);
  }

  async volumeList(): Promise<Page<Volume>> {
    this.#refuseWhileAway();
    return { items: [...this.#controller.volumes.values()], nextPageToken: null };
  }

  async volumeDeletable(): Promise<void> {
    this.#refuseWhileAway();
    if (this.keeps) throw new Failure('forbidden', 'This needs the role admin or operator; the token has host.');
  }

  async volumeDelete(name: string): Promise<void> {
    await this.volumeDeletable();
    const volume = await this.#controller.volumeGet(name);
    if (volume === null) throw new Failure('volume-not-found', `There is no volume "${name}".`);
    const holder = [...this.#controller.attachments.values()].find(({ volumeId }) => volumeId === volume.id);
    if (holder !== undefined) {
      throw new Failure('volume-in-use', `Volume "${name}" is attached to host "${holder.host}".`, {
        related: { volume: volume.id, host: holder.host, attachment: holder.id },
      });
    }
    this.#controller.volumes.delete(volume.id);
  }

  async poolList(): Promise<Page<Pool>> {
    this.#refuseWhileAway();
    return { items: this.pools.map((pool) => this.#shown(pool)), nextPageToken: null };
  }

  #shown(pool: Pool): Pool {
    if (!this.exhausted.has(pool.name)) return pool;
    const isWiping = this.wiping.delete(pool.name);
    if (isWiping) this.exhausted.delete(pool.name);
    return { ...pool, status: { ...pool.status, free: 0, wiping: Number(isWiping) } };
  }

  #poolOf({ pool: named, sizeBytes = 0 }: NewVolume): Pool | undefined {
    const pool = this.pools.find(({ name }) => name === named);
    if (named === undefined) return undefined;
    if (pool === undefined) throw new Failure('pool-not-found', `There is no pool "${named}".`);
    if (Number(sizeBytes) > pool.volumeSizeBytes)
      throw new Failure('no-pool-fits', `${sizeBytes} is more than "${named}" has.`);
    if (this.exhausted.has(named)) throw new Failure('pool-exhausted', `No volume is left in pool "${named}".`);
    return pool;
  }

  #refuseWhileAway(): void {
    if (this.#controller.away) throw new Failure('controller-unavailable', 'The controller does not answer.');
  }
}

function sameLabels(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  return JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort());
}
