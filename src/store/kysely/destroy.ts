/**
 * Destruction of volumes that no pool keeps: returned ones without a pool or of a draining pool, and retired ones.
 * A row goes when its bytes are gone; the row of a pool that is being deleted goes with its last volume.
 */

import { limits } from '../../config/limits.ts';
import type { VolumeState } from '../../domain/volume.ts';
import type { DestroyRequest } from '../../storage-node/storage-node.ts';
import type { ErasureEffect, VolumeSettle } from '../store.ts';
import type { Change, Database } from './database.ts';
import { poolsRemoveEmpty } from './pool.ts';
import { deltasOf, poolCountsApply, type StateChange } from './pool-counts.ts';
import { volumeRow } from './rows.ts';
import type { VolumeTable } from './schema.ts';
import { type Failed, settledColumns, sortResults, volumesQuarantine } from './settle.ts';
import { sql } from './sql.ts';
import { type TakeOptions, takeOrder, unreferenced, volumesDelay } from './wipe.ts';

/** The states of the index volumes_work, in its words: only then SQLite uses it. */
export const working = sql`(state = 'provisioning' OR state = 'wiping' OR state = 'retired' OR state = 'failed')`;
const unwanted = sql`state IN ('wiping', 'retired') AND ${unreferenced} AND (state = 'retired'
  OR pool IS NULL OR pool IN (SELECT name FROM pools WHERE pools.state = 'draining'))`;

export async function destroyTake(
  database: Database,
  { all, atMost }: TakeOptions,
): Promise<readonly ErasureEffect<DestroyRequest>[]> {
  const { now } = database.engine;
  const still = sql`${unwanted} AND ${all ? sql`TRUE` : sql`lease_until <= ${now}`}`;
  const due = sql`${working} AND ${still}`;
  const any = await database.read((db) => sql`SELECT 1 FROM volumes WHERE ${due} LIMIT 1`.execute(db));
  if (any.rows.length === 0) return [];
  return database.change(async (tx) => {
    const { rows } = await sql<VolumeTable>`
      UPDATE volumes SET generation = ${tx.commit}, lease_until = ${now} + ${sql.lit(limits.wipeLeaseMs)},
        effect = 'issued', version = version + 1
      WHERE id IN (SELECT id FROM volumes WHERE ${due} ORDER BY ${takeOrder(all)} ${sql.limit(atMost)}) AND ${still}
      RETURNING *`.execute(tx.db);
    return rows.map(destroyEffect);
  });
}

export async function destroySettle(database: Database, results: readonly VolumeSettle[]): Promise<void> {
  if (results.length === 0) return;
  const { done, quarantined, failed } = sortResults(results);
  await database.change(async (tx) => {
    const removed = await remove(tx, done);
    const kept = [...(await quarantine(tx, quarantined, 'wiping')), ...(await quarantine(tx, quarantined, 'retired'))];
    await volumesDelay(tx, failed);
    await poolCountsApply(tx.db, tx.engine, deltasOf([...removed, ...kept]));
    if (removed.length > 0) await poolsRemoveEmpty(tx);
  });
}

async function remove(tx: Change, done: readonly { readonly id: string }[]): Promise<readonly StateChange[]> {
  if (done.length === 0) return [];
  const { rows } = await sql<{ id: string; pool: string | null; state: VolumeState }>`
    DELETE FROM volumes
    WHERE (id, generation) IN (SELECT id, generation FROM ${tx.engine.rows(done, settledColumns)} AS j)
      AND state IN ('wiping', 'retired') AND ${unreferenced}
    RETURNING id, pool, state`.execute(tx.db);
  for (const { id } of rows) tx.tell({ kind: 'volume', id, name: null, state: 'removed' });
  return rows.map(({ pool, state }) => ({ pool, from: state, to: null }));
}

async function quarantine(tx: Change, list: readonly Failed[], from: VolumeState): Promise<readonly StateChange[]> {
  const kept = await volumesQuarantine(tx, list, from);
  return kept.map(({ pool }) => ({ pool, from, to: 'failed' }));
}

function destroyEffect(record: VolumeTable): ErasureEffect<DestroyRequest> {
  const { id: volumeId, storageNode, generation, backend } = volumeRow(record);
  return { storageNode, mediumFailures: record.medium_failures, request: { volumeId, generation, backend } };
}
