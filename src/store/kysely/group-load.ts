import { isId } from '../../domain/ids.ts';
import { operationId } from '../../domain/operation.ts';
import type {
  AttachmentRow,
  FlowKey,
  FlowPolicyRow,
  HostRow,
  LunFound,
  LunNeed,
  Needs,
  PendingBatch,
  Picture,
  PoolRow,
  References,
  StorageNodeRow,
  VolumeRow,
  Wait,
} from '../group.ts';
import { type Connection, together } from './database.ts';
import type { Columns, SqlEngine } from './engine.ts';
import { attachmentRow, flowPolicyRow, hostRow, poolRow, storageNodeRow, volumeRow } from './rows.ts';
import type {
  AttachmentTable,
  FlowPolicyTable,
  HostTable,
  PoolTable,
  PortTable,
  StorageNodeTable,
  VolumeTable,
} from './schema.ts';
import { sql } from './sql.ts';

/**
 * Loads what a group speaks of. Each method is one statement (two where ports come along), whatever the group's size;
 * what nobody asks for is not loaded.
 */
export class GroupLoader {
  readonly #db: Connection;
  readonly #engine: SqlEngine;

  constructor(db: Connection, engine: SqlEngine) {
    this.#db = db;
    this.#engine = engine;
  }

  /** Everything that the references name, without what `complete` adds. */
  async picture(references: References): Promise<Picture> {
    const named = this.#volumes(references);
    const [volumes, attachments, pools, hosts, storageNodes, flowPolicies, qosPolicies, waits] = await together(
      named,
      named.then((rows) => this.attachmentsOf(rows)),
      references.pools ? this.#pools() : Promise.resolve([]),
      this.#hosts([...references.hosts]),
      references.storageNodes ? this.#storageNodes() : Promise.resolve([]),
      this.#flowPolicies([...references.flowPolicies], references.flowKeys, [...references.batches]),
      this.#qosPolicies([...references.qosPolicies]),
      this.waits(),
    );
    const found = { volumes, attachments, pools, hosts, storageNodes, flowPolicies, qosPolicies, waits };
    return { ...found, freeVolumes: [], luns: [], retiredPoolless: 0 };
  }

  async complete(picture: Picture, needs: Needs): Promise<Picture> {
    const known = new Set(picture.flowPolicies.map(({ id }) => id));
    const [deciding, freeVolumes, luns, retiredPoolless] = await together(
      this.#flowPolicies([], needs.flowKeys, []),
      this.#freeVolumes(needs.freeVolumes),
      this.#luns(needs.luns),
      needs.poolless ? this.#retiredPoolless() : Promise.resolve(0),
    );
    const flowPolicies = [...picture.flowPolicies, ...deciding.filter(({ id }) => !known.has(id))];
    return { ...picture, freeVolumes, flowPolicies, luns, retiredPoolless };
  }

  /** The batch's operations that have marked a row, and the batch itself where it holds one. */
  async marksOf({ id, operations }: PendingBatch): Promise<ReadonlySet<string>> {
    const own = this.#engine.texts(operations.map((_, index) => operationId(id, index)));
    const { rows } = await sql<{ mark: string }>`
      SELECT pending_operation AS mark FROM volumes WHERE pending_operation IN ${own}
      UNION SELECT pending_operation FROM attachments WHERE pending_operation IN ${own}
      UNION SELECT held_by FROM volumes WHERE held_by = ${id}
      UNION SELECT held_by FROM attachments WHERE held_by = ${id}
      UNION SELECT held_by FROM flow_policies WHERE held_by = ${id}`.execute(this.#db);
    return new Set(rows.map(({ mark }) => mark));
  }

  async volumesById(ids: readonly string[]): Promise<VolumeRow[]> {
    if (ids.length === 0) return [];
    const { rows } = await sql<VolumeTable>`SELECT * FROM volumes WHERE id IN ${this.#engine.texts(ids)}`.execute(
      this.#db,
    );
    return rows.map(volumeRow);
  }

  async attachmentsOf(volumes: readonly VolumeRow[]): Promise<AttachmentRow[]> {
    // A volume that was deleted may still have a quarantined attachment; one that nobody has owned yet has none.
    const ids = volumes.flatMap(({ id, state }) => (state === 'provisioning' || state === 'free' ? [] : [id]));
    if (ids.length === 0) return [];
    const { rows } =
      await sql<AttachmentTable>`SELECT * FROM attachments WHERE volume_id IN ${this.#engine.texts(ids)}`.execute(
        this.#db,
      );
    return rows.map(attachmentRow);
  }

  /** All waits, and (without a key) the blocks: mostly there are none, and then a commit has nothing to wake. */
  async waits(): Promise<Wait[]> {
    const { rows } = await sql<{ key: string; operation: string; batch_seq: number }>`
      SELECT key, operation, batch_seq FROM waits
      UNION ALL SELECT '' AS key, blocker AS operation, batch_seq FROM blocks`.execute(this.#db);
    return rows.map(({ key, operation, batch_seq }) => ({ key, operation, batchSeq: batch_seq }));
  }

  async #volumes(references: References): Promise<VolumeRow[]> {
    const names = [...references.volumes];
    const ids = names.filter(isId);
    const operations = [...references.operations];
    const { texts } = this.#engine;
    const attachments = [...references.attachments];
    const sets = [
      names.length > 0 ? sql`SELECT id FROM volumes WHERE name IN ${texts(names)}` : null,
      ids.length > 0 ? sql`SELECT id FROM volumes WHERE id IN ${texts(ids)}` : null,
      attachments.length > 0 ? sql`SELECT volume_id AS id FROM attachments WHERE id IN ${texts(attachments)}` : null,
      operations.length > 0 ? sql`SELECT id FROM volumes WHERE pending_operation IN ${texts(operations)}` : null,
      operations.length > 0
        ? sql`SELECT volume_id AS id FROM attachments WHERE pending_operation IN ${texts(operations)}`
        : null,
      operations.length > 0 ? sql`SELECT id FROM volumes WHERE held_by IN ${texts([...references.batches])}` : null,
      operations.length > 0
        ? sql`SELECT volume_id AS id FROM attachments WHERE held_by IN ${texts([...references.batches])}`
        : null,
    ].filter((set) => set !== null);
    if (sets.length === 0) return [];
    const { rows } = await sql<VolumeTable>`SELECT * FROM volumes WHERE id IN (${sql.join(sets, union)})`.execute(
      this.#db,
    );
    return rows.map(volumeRow);
  }

  async #pools(): Promise<PoolRow[]> {
    const { rows } = await sql<PoolTable>`SELECT * FROM pools`.execute(this.#db);
    return rows.map(poolRow);
  }

  async #freeVolumes(wanted: ReadonlyMap<string, number>): Promise<VolumeRow[]> {
    if (wanted.size === 0) return [];
    const pools = this.#engine.rows(
      [...wanted.keys()].map((pool) => ({ pool })),
      poolColumns,
    );
    const most = Math.max(...wanted.values());
    const where = sql`f.pool = p.pool AND f.state = 'free'`;
    const first = this.#engine.joinFirst('volumes', { as: 'v', key: 'id', where, limit: most });
    // Sorted here: the engine would sort whole rows.
    const { rows } = await sql<VolumeTable>`SELECT v.* FROM ${pools} p ${first}`.execute(this.#db);
    return rows.map(volumeRow).sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  async #hosts(names: readonly string[]): Promise<HostRow[]> {
    if (names.length === 0) return [];
    const list = this.#engine.texts(names);
    const [hosts, ports] = await together(
      sql<HostTable>`SELECT * FROM hosts WHERE name IN ${list}`.execute(this.#db),
      sql<PortTable>`SELECT * FROM ports WHERE kind = 'initiator' AND owner IN ${list}`.execute(this.#db),
    );
    return hosts.rows.map((host) => hostRow(host, ports.rows));
  }

  async #retiredPoolless(): Promise<number> {
    const { rows } = await sql<{ count: number }>`
      SELECT count(*) AS count FROM volumes WHERE state = 'retired' AND pool IS NULL`.execute(this.#db);
    return rows[0]?.count ?? 0;
  }

  async #storageNodes(): Promise<StorageNodeRow[]> {
    const [nodes, ports] = await together(
      sql<StorageNodeTable>`SELECT * FROM storage_nodes ORDER BY last_seen_at DESC, name`.execute(this.#db),
      sql<PortTable>`SELECT * FROM ports WHERE kind = 'target'`.execute(this.#db),
    );
    return nodes.rows.map((node) => storageNodeRow(node, ports.rows));
  }

  async #flowPolicies(
    ids: readonly string[],
    keys: readonly FlowKey[],
    batches: readonly string[],
  ): Promise<FlowPolicyRow[]> {
    if (ids.length === 0 && keys.length === 0) return [];
    const { rows: table, texts } = this.#engine;
    const sets = [
      keys.length > 0
        ? sql`SELECT f.id FROM ${table(keys, flowKeyColumns)} k JOIN flow_policies f
            ON f.initiator_wwpn = k.initiator_wwpn AND f.target_wwpn = k.target_wwpn AND f.namespace = k.namespace`
        : null,
      ids.length > 0 ? sql`SELECT id FROM flow_policies WHERE id IN ${texts(ids)}` : null,
      batches.length > 0 ? sql`SELECT id FROM flow_policies WHERE held_by IN ${texts(batches)}` : null,
    ].filter((set) => set !== null);
    const { rows } =
      await sql<FlowPolicyTable>`SELECT * FROM flow_policies WHERE id IN (${sql.join(sets, union)})`.execute(this.#db);
    return rows.map(flowPolicyRow);
  }

  async #qosPolicies(names: readonly string[]): Promise<ReadonlySet<string>> {
    if (names.length === 0) return new Set();
    const { rows } = await sql<{
      name: string;
    }>`SELECT name FROM qos_policies WHERE name IN ${this.#engine.texts(names)}`.execute(this.#db);
    return new Set(rows.map(({ name }) => name));
  }

  async #luns(needs: readonly LunNeed[]): Promise<LunFound[]> {
    if (needs.length === 0) return [];
    const most = Math.max(...needs.map(({ count }) => count));
    const pairs = this.#engine.rows(
      needs.map(({ initiatorWwpn, targetWwpn }) => ({ initiator: initiatorWwpn, target: targetWwpn })),
      pairColumns,
    );
    const where = sql`f.initiator_wwpn = p.initiator AND f.target_wwpn = p.target AND f.attachment IS NULL`;
    const freed = this.#engine.joinFirst('luns', { as: 'l', key: 'lun', where, limit: most });
    const { rows } = await sql<{ initiator: string; target: string; lun: number; free: number }>`
      SELECT p.initiator, p.target, l.lun, 1 AS free FROM ${pairs} p ${freed}
        AND l.initiator_wwpn = p.initiator AND l.target_wwpn = p.target
      UNION ALL
      SELECT p.initiator, p.target,
        (SELECT m.lun + 1 FROM luns m WHERE m.initiator_wwpn = p.initiator AND m.target_wwpn = p.target ORDER BY m.lun DESC LIMIT 1),
        0 AS free FROM ${pairs} p`.execute(this.#db);
    return needs.map((need) => lunsOf(need, rows));
  }
}

const union = sql` UNION `;

/** Kept by the engine as long as they are the same objects. */
const poolColumns: Columns = { pool: 'text' };
const pairColumns: Columns = { initiator: 'text', target: 'text' };
const flowKeyColumns: Columns = { initiator_wwpn: 'text', target_wwpn: 'text', namespace: 'text' };

function lunsOf(
  { initiatorWwpn, targetWwpn }: LunNeed,
  rows: readonly { initiator: string; target: string; lun: number | null; free: number }[],
): LunFound {
  const own = rows.filter(({ initiator, target }) => initiator === initiatorWwpn && target === targetWwpn);
  const free = own.flatMap(({ lun, free: isFree }) => (isFree === 1 && lun !== null ? [lun] : []));
  const next = own.find(({ free: isFree }) => isFree === 0)?.lun ?? 0;
  return { initiatorWwpn, targetWwpn, free: free.sort((a, b) => a - b), next };
}
