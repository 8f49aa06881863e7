/**
 * Wipe: returned volumes lose the old owner's bytes and become free under a new identity.
 *
 * A volume is taken only when no attachment is left, under a new generation, which is also that of the medium to be
 * made. The row keeps the old medium's generation until the proof is settled, so an interrupted wipe begins again with
 * the same old medium; its late outcome carries the older generation and is ignored. `free` without a proof of that
 * generation would give one owner's bytes to the next.
 */

import { limits } from '../../config/limits.ts';
import { assert } from '../../domain/errors.ts';
import { newSerial, wwidOf } from '../../domain/ids.ts';
import type { WipeRequest } from '../../storage-node/storage-node.ts';
import type { VolumeRow } from '../group.ts';
import type { ErasureEffect, VolumeSettle } from '../store.ts';
import type { StoredWipeProof } from '../views.ts';
import type { Change, Database } from './database.ts';
import type { ColumnType } from './engine.ts';
import { deltasOf, poolCountsApply } from './pool-counts.ts';
import { type Done, type Failed, settledColumns, sortResults, type VolumeInPool, volumesQuarantine } from './settle.ts';
import { type Sql, sql } from './sql.ts';

/** Nothing refers to the volume any more, neither an attachment nor an operation. */
export const unreferenced = sql`writer IS NULL AND readers = 0 AND held_by IS NULL AND pending_operation IS NULL
  AND NOT EXISTS (SELECT 1 FROM attachments WHERE attachments.volume_id = volumes.id)`;

function isWipeable(state: Sql) {
  return sql`${state} = 'wiping' AND ${unreferenced} AND pool IN (SELECT name FROM pools WHERE pools.state = 'active')`;
}

export interface TakeOptions {
  /** Also those whose lease has not run out: nobody else is at work. */
  readonly all: boolean;
  readonly atMost: number;
}

/** The longest due first; with `all`, what a dead worker had begun first: that is no more than one call takes. */
export function takeOrder(all: boolean): Sql {
  return all ? sql`lease_until DESC, id` : sql`lease_until, id`;
}

export async function wipeTake(
  database: Database,
  { all, atMost }: TakeOptions,
): Promise<readonly ErasureEffect<WipeRequest>[]> {
  const { now } = database.engine;
  const leaseOver = all ? sql`TRUE` : sql`lease_until <= ${now}`;
  const due = sql`${isWipeable(sql`state`)} AND ${leaseOver}`;
  const still = sql`${isWipeable(database.engine.unindexed('state'))} AND ${leaseOver}`;
  const any = await database.read((db) => sql`SELECT 1 FROM volumes WHERE ${due} LIMIT 1`.execute(db));
  if (any.rows.length === 0) return [];
  return database.change(async (tx) => {
    const { rows } = await sql<Taken>`
      UPDATE volumes SET generation = ${tx.commit}, lease_until = ${now} + ${sql.lit(limits.wipeLeaseMs)},
        effect = 'issued', version = version + 1
      WHERE id IN (SELECT id FROM volumes WHERE ${due} ORDER BY ${takeOrder(all)} ${sql.limit(atMost)}) AND ${still}
      RETURNING id, storage_node AS "storageNode", generation, backend, media_generation AS "mediaGeneration",
        size_bytes AS "sizeBytes", filesystem, medium_failures AS "mediumFailures"`.execute(tx.db);
    return rows.map(wipeEffect);
  });
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

/** They are tried again after a while, and say why: what kept them (a busy device, a silent node) does not pass at once. */
export async function volumesDelay(tx: Change, failed: readonly Failed[]): Promise<void> {
  if (failed.length === 0) return;
  await sql`
    UPDATE volumes SET lease_until = ${tx.engine.now} + ${sql.lit(limits.wipeRetryMs)}, failure_reason = j.reason,
      medium_failures = j.failures, effect = NULL, version = version + 1
    FROM ${tx.engine.rows(failed, settledColumns)} AS j
    WHERE volumes.id = j.id AND volumes.generation = j.generation
      AND ${tx.engine.unindexed('state')} IN ('wiping', 'retired') AND pending_operation IS NULL`.execute(tx.db);
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

type Taken = Pick<
  VolumeRow,
  'id' | 'storageNode' | 'generation' | 'backend' | 'mediaGeneration' | 'sizeBytes' | 'filesystem'
> & { readonly mediumFailures: number };

function wipeEffect({
  id: volumeId,
  storageNode,
  generation,
  mediaGeneration,
  mediumFailures,
  ...medium
}: Taken): ErasureEffect<WipeRequest> {
  return {
    storageNode,
    mediumFailures,
    request: {
      volumeId,
      generation,
      oldMediaGeneration: mediaGeneration,
      newMediaGeneration: generation,
      ...medium,
    },
  };
}
