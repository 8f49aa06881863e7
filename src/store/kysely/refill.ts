/**
 * Refill: slots of a pool become volumes that a storage node makes.
 *
 * Volumes in `provisioning` that an operation waits for (`pending_operation`) are the operation's; none of these
 * statements touches them. A slot is taken by compare-and-swap on the pool's row, so that refill and on-demand
 * provisioning together never exceed `maxVolumes`.
 */

import { limits } from '../../config/limits.ts';
import { assert } from '../../domain/errors.ts';
import { newId, newSerial, wwidOf } from '../../domain/ids.ts';
import type { ProvisionRequest } from '../../storage-node/storage-node.ts';
import type { VolumeRow } from '../group.ts';
import type { PoolEffect, VolumeSettle } from '../store.ts';
import type { Change, Connection, Database } from './database.ts';
import { poolsRemoveEmpty } from './pool.ts';
import { deltasOf, poolCountsApply } from './pool-counts.ts';
import { poolRow, volumeColumns, volumeRecord, volumeRow } from './rows.ts';
import type { PoolTable, VolumeTable } from './schema.ts';
import { type Done, type Failed, settledColumns, sortResults, type VolumeInPool, volumesQuarantine } from './settle.ts';
import { type Sql, sql } from './sql.ts';

const refilled = isRefilled(sql`state`);

function isRefilled(state: Sql) {
  return sql`${state} = 'provisioning' AND pending_operation IS NULL`;
}

export async function refillReserve(
  database: Database,
  pool: string,
  atMost: number,
): Promise<readonly PoolEffect<ProvisionRequest>[]> {
  if ((await database.read((db) => need(db, pool))) === null) return [];
  return database.change(async (tx) => {
    const found = await need(tx.db, pool);
    const count = Math.min(found?.count ?? 0, atMost);
    if (found === null || count <= 0) return [];
    await takeSlots(tx, pool, count);
    const rows = Array.from({ length: count }, () => newVolume(tx, found.record));
    await insertVolumes(tx, rows);
    for (const { id } of rows) tx.tell({ kind: 'volume', id, name: null, state: 'provisioning' });
    return rows.map(provisionEffect);
  });
}

export async function refillRecover(
  database: Database,
  { all, atMost }: { readonly all: boolean; readonly atMost: number },
): Promise<readonly PoolEffect<ProvisionRequest>[]> {
  const { now } = database.engine;
  const leaseOver = all ? sql`TRUE` : sql`lease_until <= ${now}`;
  const due = sql`${refilled} AND ${leaseOver}`;
  const still = sql`${isRefilled(database.engine.unindexed('state'))} AND ${leaseOver}`;
  const any = await database.read((db) => sql`SELECT 1 FROM volumes WHERE ${due} LIMIT 1`.execute(db));
  if (any.rows.length === 0) return [];
  return database.change(async (tx) => {
    const { rows } = await sql<VolumeTable>`
      UPDATE volumes SET generation = ${tx.commit}, lease_until = ${now} + ${sql.lit(limits.provisionLeaseMs)},
        version = version + 1
      WHERE id IN (SELECT id FROM volumes WHERE ${due} ORDER BY lease_until, id ${sql.limit(atMost)}) AND ${still}
      RETURNING *`.execute(tx.db);
    return rows.map((record) => provisionEffect(volumeRow(record)));
  });
}

export async function refillSettle(database: Database, results: readonly VolumeSettle[]): Promise<void> {
  if (results.length === 0) return;
  const { done, quarantined, failed } = sortResults(results);
  await database.change(async (tx) => {
    const free = await becomeFree(tx, done);
    const kept = await volumesQuarantine(tx, quarantined, 'provisioning');
    const removed = await remove(tx, failed);
    await poolCountsApply(
      tx.db,
      tx.engine,
      deltasOf([
        ...free.map(({ pool }) => ({ pool, from: 'provisioning', to: 'free' }) as const),
        ...kept.map(({ pool }) => ({ pool, from: 'provisioning', to: 'failed' }) as const),
        ...removed.map(({ pool }) => ({ pool, from: 'provisioning', to: null }) as const),
      ]),
    );
    if (removed.length > 0) await poolsRemoveEmpty(tx);
  });
}

interface Need {
  readonly record: PoolTable;
  readonly count: number;
}

/** How many volumes the pool lacks and has room for; null when none. */
async function need(db: Connection, pool: string): Promise<Need | null> {
  const { rows } = await sql<PoolTable & { coming: number }>`
    SELECT pools.*, (SELECT count(*) FROM volumes WHERE volumes.pool = pools.name AND ${refilled}) AS coming
    FROM pools WHERE name = ${pool} AND pools.state = 'active' AND blocked_reason IS NULL`.execute(db);
  const record = rows[0];
  if (record === undefined) return null;
  const { provisioning, free, allocated, wiping, failed, retired } = record;
  const room = record.max_volumes - (provisioning + free + allocated + wiping + failed + retired);
  const count = Math.min(record.min_free - record.free - record.coming, room);
  return count > 0 ? { record, count } : null;
}

async function takeSlots(tx: Change, pool: string, count: number): Promise<void> {
  const { rows } = await sql`
    UPDATE pools SET provisioning = provisioning + ${count}
    WHERE name = ${pool} AND state = 'active' AND blocked_reason IS NULL
      AND provisioning + free + allocated + wiping + failed + retired + ${count} <= max_volumes
    RETURNING name`.execute(tx.db);
  assert(rows.length === 1, 'refill-slots-lost');
}

function newVolume(tx: Change, pool: PoolTable): VolumeRow {
  const serial = newSerial();
  return {
    id: newId('vol'),
    name: null,
    pool: pool.name,
    storageNode: pool.storage_node,
    backend: pool.backend,
    sizeBytes: pool.volume_size_bytes,
    state: 'provisioning',
    generation: tx.commit,
    mediaGeneration: tx.commit,
    serial,
    wwid: wwidOf(serial),
    filesystem: poolRow(pool).filesystem,
    formatted: false,
    qosPolicy: null,
    labels: {},
    epoch: 0,
    writer: null,
    readers: 0,
    heldBy: null,
    pendingOperation: null,
    effect: null,
    leaseUntil: 0,
    failureReason: null,
    wipeProof: null,
    createdAt: 0,
    allocatedAt: null,
    version: 1,
  };
}

/** Times are the database's, so they are not among the values. */
async function insertVolumes(tx: Change, rows: readonly VolumeRow[]): Promise<void> {
  const { now } = tx.engine;
  const names = Object.keys(volumeColumns);
  const times: Readonly<Record<string, Sql>> = {
    created_at: sql`${now}`,
    lease_until: sql`${now} + ${sql.lit(limits.provisionLeaseMs)}`,
  };
  const values = names.map((name) => times[name] ?? sql.ref(`j.${name}`));
  await sql`INSERT INTO volumes (${sql.join(names.map((name) => sql.id(name)))})
    SELECT ${sql.join(values)} FROM ${tx.engine.rows(rows.map(volumeRecord), volumeColumns)} AS j`.execute(tx.db);
}

async function becomeFree(tx: Change, done: readonly Done[]): Promise<readonly VolumeInPool[]> {
  if (done.length === 0) return [];
  const { rows } = await sql<VolumeInPool>`
    UPDATE volumes SET state = 'free', formatted = j.formatted, lease_until = 0, version = version + 1
    FROM ${tx.engine.rows(done, settledColumns)} AS j
    WHERE volumes.id = j.id AND volumes.generation = j.generation
      AND ${isRefilled(tx.engine.unindexed('state'))}
    RETURNING volumes.id, pool`.execute(tx.db);
  for (const { id } of rows) tx.tell({ kind: 'volume', id, name: null, state: 'free' });
  return rows;
}

/** What could not be made leaves no row; a medium that was made all the same is found by the node's inventory. */
async function remove(tx: Change, failed: readonly Failed[]): Promise<readonly VolumeInPool[]> {
  if (failed.length === 0) return [];
  const { rows } = await sql<VolumeInPool>`
    DELETE FROM volumes
    WHERE (id, generation) IN (SELECT id, generation FROM ${tx.engine.rows(failed, settledColumns)} AS j) AND ${refilled}
    RETURNING id, pool`.execute(tx.db);
  for (const { id } of rows) tx.tell({ kind: 'volume', id, name: null, state: 'removed' });
  return rows;
}

function provisionEffect(row: VolumeRow): PoolEffect<ProvisionRequest> {
  const { id: volumeId, generation, backend, mediaGeneration, sizeBytes, filesystem } = row;
  return {
    storageNode: row.storageNode,
    request: { volumeId, generation, backend, mediaGeneration, sizeBytes, filesystem },
  };
}
