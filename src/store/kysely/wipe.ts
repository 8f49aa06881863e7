/**
 * Wipe: returned volumes lose the old owner's bytes and become free under a new identity.
 *
 * A volume is taken only when no attachment is left, under a new generation, which is also that of the medium to be
 * made. The row keeps the old medium's generation until the proof is settled, so an interrupted wipe begins again with
 * the same old medium; its late outcome carries the older generation and is ignored. `free` without a proof of that
 * generation would give one owner's bytes to the next.
 */

import { assert } from '../../domain/errors.ts';
import { newSerial, wwidOf } from '../../domain/ids.ts';
import type { FilesystemType } from '../../domain/volume.ts';
import type { WipeRequest } from '../../storage-node/storage-node.ts';
import type { ErasureEffect, VolumeSettle } from '../store.ts';
import type { StoredWipeProof } from '../views.ts';
import type { Change, Database } from './database.ts';
import type { ColumnType } from './engine.ts';
import { erasuresTake, type Taken, type TakeOptions, unreferenced, volumesDelay } from './erasure.ts';
import { deltasOf, poolCountsApply } from './pool-counts.ts';
import { type Done, settledColumns, sortResults, type VolumeInPool, volumesQuarantine } from './settle.ts';
import { type Sql, sql } from './sql.ts';

function isWipeable(state: Sql) {
  return sql`${state} = 'wiping' AND ${unreferenced} AND pool IN (SELECT name FROM pools WHERE pools.state = 'active')`;
}

export async function wipeTake(
  database: Database,
  options: TakeOptions,
): Promise<readonly ErasureEffect<WipeRequest>[]> {
  const which = { due: isWipeable(sql`state`), still: isWipeable(database.engine.unindexed('state')) };
  return (await erasuresTake(database, which, options)).map(wipeEffect);
}

export async function wipeSettle(database: Database, results: readonly VolumeSettle[]): Promise<void> {
  if (results.length === 0) return;
  const { done, quarantined, failed } = sortResults(results);
  await database.change(async (tx) => {
    const free = await becomeFree(tx, done);
    const kept = await volumesQuarantine(tx, quarantined, 'wiping');
    await volumesDelay(tx, failed);
    await poolCountsApply(
      tx.db,
      tx.engine,
      deltasOf([
        ...free.map(({ pool }) => ({ pool, from: 'wiping', to: 'free' }) as const),
        ...kept.map(({ pool }) => ({ pool, from: 'wiping', to: 'failed' }) as const),
      ]),
    );
  });
}

export async function wipeBacklog(database: Database): Promise<number> {
  const { rows } = await database.read((db) =>
    sql<{ waiting: number }>`SELECT count(*) AS waiting FROM volumes WHERE state = 'wiping'`.execute(db),
  );
  return rows[0]?.waiting ?? 0;
}

export async function wipesFailed(database: Database): Promise<ReadonlyMap<string, number>> {
  const { rows } = await database.read((db) =>
    sql<{ pool: string; count: number }>`
      SELECT pool, count(*) AS count FROM volumes
      WHERE state = 'wiping' AND failure_reason IS NOT NULL AND pool IS NOT NULL GROUP BY pool`.execute(db),
  );
  return new Map(rows.map(({ pool, count }) => [pool, count]));
}

const freedColumns = {
  ...settledColumns,
  serial: 'text',
  wwid: 'text',
  proof: 'text',
} as const satisfies Readonly<Record<string, ColumnType>>;

async function becomeFree(tx: Change, done: readonly Done[]): Promise<readonly VolumeInPool[]> {
  if (done.length === 0) return [];
  const { rows } = await sql<VolumeInPool>`
    UPDATE volumes SET state = 'free', media_generation = j.generation, serial = j.serial, wwid = j.wwid,
      formatted = j.formatted, wipe_proof = j.proof, name = NULL, labels = '{}', qos_policy = NULL,
      failure_reason = NULL, medium_failures = 0, allocated_at = NULL, effect = NULL, lease_until = 0,
      version = version + 1
    FROM ${tx.engine.rows(
      done.map((one) => withNewIdentity(one, tx.now)),
      freedColumns,
    )} AS j
    WHERE volumes.id = j.id AND volumes.generation = j.generation
      AND ${tx.engine.unindexed('state')} = 'wiping' AND pool IS NOT NULL
      AND ${unreferenced}
    RETURNING volumes.id, pool`.execute(tx.db);
  for (const { id } of rows) tx.tell({ kind: 'volume', id, name: null, state: 'free' });
  return rows;
}

function withNewIdentity({ id, generation, formatted, proof }: Done, now: number) {
  assert(proof !== null && proof.generation === generation, 'wipe-without-proof');
  const stored: StoredWipeProof = { ...proof, at: now };
  const serial = newSerial();
  return { id, generation, formatted, serial, wwid: wwidOf(serial), proof: JSON.stringify(stored) };
}

function wipeEffect(volume: Taken): ErasureEffect<WipeRequest> {
  const { id: volumeId, generation, backend, size_bytes: sizeBytes } = volume;
  const media = { oldMediaGeneration: volume.media_generation, newMediaGeneration: generation };
  const filesystem = volume.filesystem as FilesystemType;
  const request = { volumeId, generation, ...media, backend, sizeBytes, filesystem };
  return { storageNode: volume.storage_node, mediumFailures: volume.medium_failures, request };
}
