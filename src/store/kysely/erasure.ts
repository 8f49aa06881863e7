/** What wiping and destroying volumes have in common: which may be taken, how, and what becomes of those that failed. */

import { limits } from '../../config/limits.ts';
import type { Change, Database } from './database.ts';
import type { VolumeTable } from './schema.ts';
import { type Failed, settledColumns } from './settle.ts';
import { type Sql, sql } from './sql.ts';

/** The states of the index volumes_work, in its words: only then SQLite uses it. */
export const working = sql`(state = 'provisioning' OR state = 'wiping' OR state = 'retired' OR state = 'failed')`;

/** Nothing refers to the volume any more, neither an attachment nor an operation. */
export const unreferenced = sql`writer IS NULL AND readers = 0 AND held_by IS NULL AND pending_operation IS NULL
  AND NOT EXISTS (SELECT 1 FROM attachments WHERE attachments.volume_id = volumes.id)`;

export interface TakeOptions {
  /** Also those whose lease has not run out: nobody else is at work. */
  readonly all: boolean;
  readonly atMost: number;
}

/** The longest due first; with `all`, what a dead worker had begun first: that is no more than one call takes. */
function takeOrder(all: boolean): Sql {
  return all ? sql`lease_until DESC, id` : sql`lease_until, id`;
}

/** Conditions on a volume: how it is found, and what is tested again as it is taken. */
interface Takeable {
  readonly due: Sql;
  readonly still: Sql;
}

const takenColumns = [
  ...(['id', 'storage_node', 'generation', 'backend', 'media_generation', 'size_bytes'] as const),
  ...(['filesystem', 'medium_failures'] as const),
] as const;
const taken = sql.fixed(sql.join(takenColumns.map((column) => sql.id(column))));

/** What a node has to know of a volume to erase it. */
export type Taken = Pick<VolumeTable, (typeof takenColumns)[number]>;

/** Each under a new generation, and a lease. */
export async function erasuresTake(
  database: Database,
  which: Takeable,
  { all, atMost }: TakeOptions,
): Promise<readonly Taken[]> {
  const { now } = database.engine;
  const leaseOver = all ? sql`TRUE` : sql`lease_until <= ${now}`;
  const due = sql`${which.due} AND ${leaseOver}`;
  const any = await database.read((db) => sql`SELECT 1 FROM volumes WHERE ${due} LIMIT 1`.execute(db));
  if (any.rows.length === 0) return [];
  return database.change(async (tx) => {
    const { rows } = await sql<Taken>`
      UPDATE volumes SET generation = ${tx.commit}, lease_until = ${now} + ${sql.lit(limits.wipeLeaseMs)},
        effect = 'issued', version = version + 1
      WHERE id IN (SELECT id FROM volumes WHERE ${due} ORDER BY ${takeOrder(all)} ${sql.limit(atMost)})
        AND ${which.still} AND ${leaseOver}
      RETURNING ${taken}`.execute(tx.db);
    return rows;
  });
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
