import { assert, type Problem } from '../domain/errors.ts';
import type { Event } from '../domain/event.ts';
import type {
  AttachmentRow,
  Changed,
  FlowPolicyRow,
  HostRow,
  LunChange,
  Picture,
  PlanContext,
  PoolCount,
  PoolDelta,
  PoolRow,
  StorageNodeRow,
  VolumeRow,
} from '../store/group.ts';
import type { Effect } from '../store/store.ts';

/**
 * The picture of a group while it is planned: rows are immutable, changes go through `put*`, and everything since a
 * checkpoint can be taken back (an all-or-nothing batch that fails leaves no trace).
 */
export class Model {
  readonly context: PlanContext;
  readonly volumes: Table<VolumeRow>;
  readonly attachments: Table<AttachmentRow>;
  readonly flowPolicies: Table<FlowPolicyRow>;
  readonly pools: ReadonlyMap<string, PoolRow>;
  readonly poolsBySize: readonly PoolRow[];
  readonly hosts: ReadonlyMap<string, HostRow>;
  readonly storageNodes: ReadonlyMap<string, StorageNodeRow>;
  readonly retiredPoolless: number;
  readonly qosPolicies: ReadonlySet<string>;
  readonly #volumeByName = new Map<string, string>();
  readonly #flowByKey = new Map<string, string>();
  readonly #attachmentsByVolume = new Map<string, Set<string>>();
  readonly #free = new Map<string, string[]>();
  readonly #luns = new Map<string, { free: number[]; next: number }>();
  readonly #counts = new Map<string, Map<PoolCount, number>>();
  readonly #undo: (() => void)[] = [];
  readonly effects: Effect[] = [];
  readonly lunChanges: LunChange[] = [];
  readonly events: Omit<Event, 'cursor' | 'at'>[] = [];
  /** Operations that have marked a row: they go on, whoever waits. */
  readonly begun: ReadonlySet<string>;
  /** Batches to look at again. */
  readonly woken: string[] = [];
  /** Attachments that an undecided batch is going to take away, by the batch. */
  readonly leaving = new Map<string, string>();
  /** The all-or-nothing batch that is being planned: rows it touches are held for it. */
  holder: string | null = null;

  constructor(picture: Picture, context: PlanContext) {
    this.context = context;
    this.volumes = new Table([...picture.volumes, ...picture.freeVolumes], this.#undo);
    this.attachments = new Table(picture.attachments, this.#undo);
    this.flowPolicies = new Table(picture.flowPolicies, this.#undo);
    this.pools = new Map(picture.pools.map((pool) => [pool.name, pool]));
    this.poolsBySize = [...picture.pools].sort(
      (a, b) => a.volumeSizeBytes - b.volumeSizeBytes || (a.name < b.name ? -1 : 1),
    );
    this.hosts = new Map(picture.hosts.map((host) => [host.name, host]));
    this.storageNodes = new Map(picture.storageNodes.map((node) => [node.name, node]));
    this.qosPolicies = picture.qosPolicies;
    this.retiredPoolless = picture.retiredPoolless;
    this.begun = new Set(
      [...picture.volumes, ...picture.attachments].flatMap(({ pendingOperation }) => pendingOperation ?? []),
    );
    for (const row of picture.volumes) if (row.name !== null) this.#volumeByName.set(row.name, row.id);
    for (const row of picture.flowPolicies) this.#flowByKey.set(flowKeyOf(row), row.id);
    for (const row of picture.attachments) this.#attachmentsOf(row.volumeId).add(row.id);
    for (const row of picture.freeVolumes) push(this.#free, row.pool ?? '', row.id);
    for (const found of picture.luns) {
      this.#luns.set(pairKey(found.initiatorWwpn, found.targetWwpn), { free: [...found.free], next: found.next });
    }
  }

  checkpoint(): number {
    const { effects, lunChanges, events, woken } = this;
    const lengths = [effects.length, lunChanges.length, events.length, woken.length] as const;
    const holder = this.holder;
    this.#undo.push(() => {
      effects.length = lengths[0];
      lunChanges.length = lengths[1];
      events.length = lengths[2];
      woken.length = lengths[3];
      this.holder = holder;
    });
    return this.#undo.length - 1;
  }

  rollback(checkpoint: number): void {
    while (this.#undo.length > checkpoint) this.#undo.pop()?.();
  }

  volume(nameOrId: string): VolumeRow | null {
    const id = this.#volumeByName.get(nameOrId) ?? nameOrId;
    const row = this.volumes.get(id);
    // Free volumes have no owner and cannot be spoken of.
    return row === null || row.state === 'free' ? null : row;
  }

  putVolume(row: VolumeRow): VolumeRow {
    const before = this.volumes.get(row.id);
    const held = this.holder === null ? row : { ...row, heldBy: this.holder };
    this.volumes.put(row.id, held);
    if (before?.name !== row.name) {
      if (before?.name != null) this.#rename(this.#volumeByName, before.name, null);
      if (row.name !== null) this.#rename(this.#volumeByName, row.name, row.id);
    }
    this.#count(before, held);
    return held;
  }

  removeVolume(row: VolumeRow): void {
    this.volumes.put(row.id, null);
    if (row.name !== null) this.#rename(this.#volumeByName, row.name, null);
    this.#count(row, null);
  }

  /** Takes the next free volume of the pool out of the picture, or null. */
  takeFree(pool: string): VolumeRow | null {
    const ids = this.#free.get(pool);
    const id = ids?.shift();
    if (ids === undefined || id === undefined) return null;
    this.#undo.push(() => ids.unshift(id));
    return this.volumes.get(id);
  }

  /** Volumes of the pool in a state, as loaded and changed since. */
  poolCount(pool: PoolRow, count: Exclude<PoolCount, 'hits' | 'misses'>): number {
    return pool[count] + (this.#counts.get(pool.name)?.get(count) ?? 0);
  }

  addCount(pool: string, count: PoolCount, by: number): void {
    const counts = this.#counts.get(pool) ?? new Map<PoolCount, number>();
    this.#counts.set(pool, counts);
    counts.set(count, (counts.get(count) ?? 0) + by);
    this.#undo.push(() => counts.set(count, (counts.get(count) ?? 0) - by));
  }

  attachmentsOfVolume(volumeId: string): AttachmentRow[] {
    return [...this.#attachmentsOf(volumeId)].flatMap((id) => this.attachments.get(id) ?? []);
  }

  putAttachment(row: AttachmentRow): AttachmentRow {
    const held = this.holder === null ? row : { ...row, heldBy: this.holder };
    this.attachments.put(row.id, held);
    const ids = this.#attachmentsOf(row.volumeId);
    if (!ids.has(row.id)) {
      ids.add(row.id);
      this.#undo.push(() => ids.delete(row.id));
    }
    return held;
  }

  /** Removes the row and frees its LUN numbers. */
  removeAttachment(row: AttachmentRow): void {
    this.attachments.put(row.id, null);
    const ids = this.#attachmentsOf(row.volumeId);
    ids.delete(row.id);
    this.#undo.push(() => ids.add(row.id));
    for (const path of row.paths) this.lunChanges.push({ ...path, attachment: null });
  }

  flowPolicy(initiator: string, target: string, namespace: string): FlowPolicyRow | null {
    const id = this.#flowByKey.get(`${initiator}|${target}|${namespace}`);
    return id === undefined ? null : this.flowPolicies.get(id);
  }

  putFlowPolicy(row: FlowPolicyRow): FlowPolicyRow {
    const held = this.holder === null ? row : { ...row, heldBy: this.holder };
    this.flowPolicies.put(row.id, held);
    this.#rename(this.#flowByKey, flowKeyOf(row), row.id);
    return held;
  }

  removeFlowPolicy(row: FlowPolicyRow): void {
    this.flowPolicies.put(row.id, null);
    this.#rename(this.#flowByKey, flowKeyOf(row), null);
  }

  /** The lowest free LUN number of the pair, or null when the pair has none left. */
  takeLun(initiatorWwpn: string, targetWwpn: string, attachment: string, lunsMax: number): number | null {
    const found = this.#luns.get(pairKey(initiatorWwpn, targetWwpn));
    assert(found !== undefined, 'lun-pair-not-loaded');
    const freed = found.free.shift();
    if (freed !== undefined) this.#undo.push(() => found.free.unshift(freed));
    const lun = freed ?? found.next;
    if (freed === undefined) {
      if (found.next >= lunsMax) return null;
      found.next += 1;
      this.#undo.push(() => {
        found.next -= 1;
      });
    }
    this.lunChanges.push({ initiatorWwpn, targetWwpn, lun, attachment });
    return lun;
  }

  tell(kind: Event['kind'], id: string, name: string | null, state: string): void {
    this.events.push({ kind, id, name, state });
  }

  poolDeltas(): PoolDelta[] {
    return [...this.#counts].map(([pool, counts]) => ({ pool, counts: Object.fromEntries(counts) }));
  }

  #count(before: VolumeRow | null, after: VolumeRow | null): void {
    if (before?.pool === after?.pool && before?.state === after?.state) return;
    if (before?.pool != null) this.addCount(before.pool, before.state, -1);
    if (after?.pool != null) this.addCount(after.pool, after.state, 1);
  }

  #attachmentsOf(volumeId: string): Set<string> {
    const known = this.#attachmentsByVolume.get(volumeId);
    if (known !== undefined) return known;
    const ids = new Set<string>();
    this.#attachmentsByVolume.set(volumeId, ids);
    return ids;
  }

  #rename(index: Map<string, string>, key: string, id: string | null): void {
    const before = index.get(key);
    if (id === null) index.delete(key);
    else index.set(key, id);
    this.#undo.push(() => (before === undefined ? index.delete(key) : index.set(key, before)));
  }
}

/** Rows by id, with what they were when loaded. */
export class Table<R extends { readonly id: string }> {
  readonly #loaded = new Map<string, R>();
  readonly #now = new Map<string, R | null>();
  readonly #undo: (() => void)[];

  constructor(rows: readonly R[], undo: (() => void)[]) {
    for (const row of rows) this.#loaded.set(row.id, row);
    this.#undo = undo;
  }

  get(id: string): R | null {
    const changed = this.#now.get(id);
    return changed === undefined ? (this.#loaded.get(id) ?? null) : changed;
  }

  put(id: string, row: R | null): void {
    const before = this.#now.get(id);
    this.#now.set(id, row);
    this.#undo.push(() => {
      if (before === undefined) this.#now.delete(id);
      else this.#now.set(id, before);
    });
  }

  *all(): Generator<R> {
    for (const id of new Set([...this.#loaded.keys(), ...this.#now.keys()])) {
      const row = this.get(id);
      if (row !== null) yield row;
    }
  }

  changes(): Changed<R>[] {
    const changes: Changed<R>[] = [];
    for (const [id, after] of this.#now) {
      const before = this.#loaded.get(id) ?? null;
      if (before !== null || after !== null) changes.push({ id, before, after });
    }
    return changes;
  }
}

/** How far one operation came in this commit. */
export type Step =
  | { readonly kind: 'succeeded'; readonly resource: ResourceName | null; readonly existing: boolean }
  | { readonly kind: 'failed'; readonly problem: Problem }
  /** An effect is in flight under a lease, or (not leased) the host has to do its part. */
  | { readonly kind: 'running'; readonly leased: boolean }
  /** Carried out, but its all-or-nothing batch has not been decided. */
  | { readonly kind: 'undecided' }
  | { readonly kind: 'blocked'; readonly on: string };

export interface ResourceName {
  readonly kind: 'volume' | 'attachment' | 'flow-policy';
  readonly id: string;
}

function push(lists: Map<string, string[]>, key: string, id: string): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [id]);
  else list.push(id);
}

function pairKey(initiatorWwpn: string, targetWwpn: string): string {
  return `${initiatorWwpn}|${targetWwpn}`;
}

export function flowKeyOf(row: { initiatorWwpn: string; targetWwpn: string; namespace: string }): string {
  return `${row.initiatorWwpn}|${row.targetWwpn}|${row.namespace}`;
}
