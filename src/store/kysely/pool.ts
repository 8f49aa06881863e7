/**
 * Pools: definition, change and removal. Their counters are changed by whoever changes their volumes (pool-counts.ts).
 *
 * A pool is removed in two steps: marked, drained by the maintenance, and its row goes with its last volume. A version
 * is of the definition alone; counters move all the time and would make every If-Match fail.
 */

import { limits } from '../../config/limits.ts';
import { wholeSectors } from '../../domain/byte-count.ts';
import { Failure } from '../../domain/errors.ts';
import { newId } from '../../domain/ids.ts';
import type { Pool } from '../../domain/pool.ts';
import type { Created, NewPool, Page, PageRequest, PoolChange } from '../store.ts';
import type { Change, Connection, Database } from './database.ts';
import { keyBefore, pageOf } from './page.ts';
import { poolResource } from './rows.ts';
import type { PoolTable } from './schema.ts';
import { sql } from './sql.ts';

export async function poolCreate(database: Database, pool: NewPool): Promise<Created<Pool>> {
  checkBounds(pool.minFree, pool.maxVolumes);
  const known = await database.read((db) => existing(db, pool));
  if (known !== null) return known;
  return database.change(async (tx) => (await existing(tx.db, pool)) ?? insert(tx, pool));
}

/** The mark that a store has had its first pool stands in the same commit, and stays when the pool goes. */
export async function poolCreateFirst(database: Database, pool: NewPool): Promise<boolean> {
  checkBounds(pool.minFree, pool.maxVolumes);
  const marked = await database.read((db) => sql`SELECT 1 FROM meta WHERE key = 'first-pool'`.execute(db));
  if (marked.rows.length > 0) return false;
  return database.change(async (tx) => {
    const { rows } = await sql`
      INSERT INTO meta (key, value) VALUES ('first-pool', ${pool.name}) ON CONFLICT (key) DO NOTHING
      RETURNING key`.execute(tx.db);
    if (rows.length === 0 || (await find(tx.db, pool.name)) !== null) return false;
    await insert(tx, pool);
    return true;
  });
}

export function poolGet(database: Database, name: string): Promise<Pool | null> {
  return database.read(async (db) => {
    const record = await find(db, name);
    return record === null ? null : poolResource(record);
  });
}

export function poolList(database: Database, page: PageRequest): Promise<Page<Pool>> {
  return database.read(async (db) => {
    const query = db.selectFrom('pools').selectAll().where('name', '>', keyBefore(page));
    const found = await query
      .orderBy('name')
      .limit(page.pageSize + 1)
      .execute();
    return pageOf(found, page, { key: ({ name }) => name, show: poolResource });
  });
}

export function poolUpdate(
  database: Database,
  name: string,
  change: PoolChange,
  ifVersion: number | null,
): Promise<Pool> {
  return database.change(async (tx) => {
    const record = await required(tx.db, name);
    if (ifVersion !== null && record.version !== ifVersion) throw changed(name);
    if (record.deleting === 1) throw beingDeleted(name);
    const next = { ...record, ...definitionOf(record, change), version: record.version + 1 };
    checkBounds(next.min_free, next.max_volumes);
    await write(tx, next, record.version);
    return poolResource(next);
  });
}

export function poolDelete(database: Database, name: string): Promise<{ readonly removed: boolean }> {
  return database.change(async (tx) => {
    const record = await required(tx.db, name);
    if (record.allocated > 0) throw inUse(record);
    if (record.deleting === 0) {
      const draining = { ...record, state: 'draining', deleting: 1, version: record.version + 1 };
      await write(tx, draining, record.version);
    }
    return { removed: (await poolsRemoveEmpty(tx)).includes(name) };
  });
}

/** Removes the pools that are to be deleted and have no volume left. Run by everything that removes volumes. */
export async function poolsRemoveEmpty(tx: Change): Promise<readonly string[]> {
  const { rows } = await sql<{ id: string; name: string }>`
    DELETE FROM pools
    WHERE deleting = 1 AND provisioning = 0 AND free = 0 AND allocated = 0 AND wiping = 0 AND failed = 0 AND retired = 0
    RETURNING id, name`.execute(tx.db);
  for (const { id, name } of rows) tx.tell({ kind: 'pool', id, name, state: 'removed' });
  return rows.map(({ name }) => name);
}

/** Refill and allocation of a blocked pool wait; a reason of null lets them go on. */
export async function poolBlock(database: Database, name: string, reason: string | null): Promise<void> {
  const record = await database.read((db) => find(db, name));
  if (record === null || record.blocked_reason === reason) return;
  await database.change(async (tx) => {
    const { rows } = await sql<{ id: string; state: string }>`
      UPDATE pools SET blocked_reason = ${reason}
      WHERE name = ${name} AND blocked_reason IS DISTINCT FROM ${reason} RETURNING id, state`.execute(tx.db);
    for (const { id, state } of rows) {
      tx.tell({ kind: 'pool', id, name, state: reason === null ? state : 'blocked' });
    }
  });
}

async function find(db: Connection, name: string): Promise<PoolTable | null> {
  return (await db.selectFrom('pools').selectAll().where('name', '=', name).executeTakeFirst()) ?? null;
}

async function required(db: Connection, name: string): Promise<PoolTable> {
  const record = await find(db, name);
  if (record === null) throw new Failure('pool-not-found', `There is no pool "${name}".`);
  return record;
}

/** The pool of that name when its fields are those that are asked for; null: there is none. */
async function existing(db: Connection, pool: NewPool): Promise<Created<Pool> | null> {
  const record = await find(db, pool.name);
  if (record === null) return null;
  if (record.deleting === 1) throw beingDeleted(pool.name);
  const field = differingField(poolResource(record), pool);
  if (field === null) return { resource: poolResource(record), existing: true };
  throw new Failure('name-taken', `A pool "${pool.name}" exists already, with another ${field}.`, {
    field,
    related: { pool: record.id },
  });
}

function differingField(pool: Pool, asked: NewPool): string | null {
  if (wholeSectors(asked.volumeSizeBytes) !== wholeSectors(pool.volumeSizeBytes)) return 'volumeSizeBytes';
  const fields = ['backend', 'storageNode', 'minFree', 'maxVolumes', 'filesystem'] as const;
  return fields.find((field) => asked[field] !== undefined && asked[field] !== pool[field]) ?? null;
}

async function insert(tx: Change, pool: NewPool): Promise<Created<Pool>> {
  const storageNode = await placeOf(tx.db, pool);
  const { rows } = await sql<{ pools: number; now: number }>`
    SELECT count(*) AS pools, ${tx.engine.now} AS now FROM pools`.execute(tx.db);
  const [{ pools, now } = { pools: 0, now: 0 }] = rows;
  if (pools >= limits.pools) throw new Failure('limit-reached', `There are ${pools} pools; that is the limit.`);
  const record: PoolTable = { ...emptyPool, ...columnsOf(pool), storage_node: storageNode, created_at: now };
  await tx.db.insertInto('pools').values(record).execute();
  tx.tell({ kind: 'pool', id: record.id, name: record.name, state: record.state });
  return { resource: poolResource(record), existing: false };
}

/** The stated storage node, or of those that have the backend the one that was seen last: others may be gone. */
async function placeOf(db: Connection, { backend, storageNode }: NewPool): Promise<string> {
  const nodes = await db
    .selectFrom('storage_nodes')
    .select(['name', 'backends'])
    .orderBy('last_seen_at', 'desc')
    .orderBy('name')
    .execute();
  if (storageNode !== undefined && !nodes.some(({ name }) => name === storageNode)) {
    throw new Failure('storage-node-not-found', `There is no storage node "${storageNode}".`, { field: 'storageNode' });
  }
  const able = nodes.filter(({ backends }) => (JSON.parse(backends) as readonly string[]).includes(backend));
  const node = able.find(({ name }) => storageNode === undefined || name === storageNode);
  if (node !== undefined) return node.name;
  const where = storageNode === undefined ? 'No storage node has' : `Storage node "${storageNode}" does not have`;
  throw new Failure('invalid-request', `backend: ${where} the backend "${backend}".`, { field: 'backend' });
}

const emptyPool = {
  state: 'active',
  version: 1,
  blocked_reason: null,
  provisioning: 0,
  free: 0,
  allocated: 0,
  wiping: 0,
  failed: 0,
  retired: 0,
  hits: 0,
  misses: 0,
  deleting: 0,
};

function columnsOf(pool: NewPool) {
  return {
    name: pool.name,
    id: newId('pool'),
    backend: pool.backend,
    volume_size_bytes: pool.volumeSizeBytes,
    min_free: pool.minFree,
    max_volumes: pool.maxVolumes,
    filesystem: pool.filesystem,
  };
}

function definitionOf(record: PoolTable, change: PoolChange): Partial<PoolTable> {
  const draining = change.draining ?? record.state === 'draining';
  return {
    min_free: change.minFree ?? record.min_free,
    max_volumes: change.maxVolumes ?? record.max_volumes,
    state: draining ? 'draining' : 'active',
  };
}

async function write(tx: Change, next: PoolTable, version: number): Promise<void> {
  const { state, min_free, max_volumes, deleting } = next;
  const { numUpdatedRows } = await tx.db
    .updateTable('pools')
    .set({ state, min_free, max_volumes, deleting, version: version + 1 })
    .where('name', '=', next.name)
    .where('version', '=', version)
    .executeTakeFirst();
  if (numUpdatedRows !== 1n) throw changed(next.name);
  tx.tell({ kind: 'pool', id: next.id, name: next.name, state: deleting === 1 ? 'deleting' : state });
}

function checkBounds(minFree: number, maxVolumes: number): void {
  if (minFree <= maxVolumes) return;
  const detail = `minFree: ${minFree} is above maxVolumes (${maxVolumes}).`;
  throw new Failure('invalid-request', detail, { field: 'minFree' });
}

function changed(name: string): Failure {
  return new Failure('etag-mismatch', `Pool "${name}" has changed since it was read.`);
}

function beingDeleted(name: string): Failure {
  return new Failure('pool-draining', `Pool "${name}" is being deleted.`, { field: 'name' });
}

function inUse({ name, allocated }: PoolTable): Failure {
  const volumes = allocated === 1 ? '1 volume' : `${allocated} volumes`;
  return new Failure('pool-in-use', `Pool "${name}" has ${volumes} allocated; delete them first.`, {
    related: { allocated: String(allocated) },
  });
}
