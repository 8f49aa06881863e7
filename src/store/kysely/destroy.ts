/**
 * Destruction of volumes that no pool keeps: returned ones without a pool or of a draining pool, and retired ones.
 * A row goes when its bytes are gone; the row of a pool that is being deleted goes with its last volume.
 */

import type { VolumeState } from '../../domain/volume.ts';
import type { DestroyRequest } from '../../storage-node/storage-node.ts';
import type { ErasureEffect, VolumeSettle } from '../store.ts';
import type { Change, Database } from './database.ts';
import { erasuresTake, type Taken, type TakeOptions, unreferenced, volumesDelay, working } from './erasure.ts';
import { poolsRemoveEmpty } from './pool.ts';
import { deltasOf, poolCountsApply, type StateChange } from './pool-counts.ts';
import { type Failed, settledColumns, sortResults, volumesQuarantine } from './settle.ts';
import { sql } from './sql.ts';

const unwanted = sql`state IN ('wiping', 'retired') AND ${unreferenced} AND (state = 'retired'
  OR pool IS NULL OR pool IN (SELECT name FROM pools WHERE pools.state = 'draining'))`;

export async function destroyTake(
  database: Database,
  options: TakeOptions,
): Promise<readonly ErasureEffect<DestroyRequest>[]> {
  const which = { due: sql`${working} AND ${unwanted}`, still: unwanted };
  return (await erasuresTake(database, which, options)).map(destroyEffect);
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

function destroyEffect({
  id: volumeId,
  storage_node: storageNode,
  generation,
  backend,
  medium_failures: mediumFailures,
}: Taken): ErasureEffect<DestroyRequest> {
  return { storageNode, mediumFailures, request: { volumeId, generation, backend } };
}
