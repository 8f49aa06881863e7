/**
 * What has ended ages out: whole batches with their operations and idempotency keys, the keys and answers of other
 * requests, tokens that have expired, and events from the oldest on.
 * Ages are the database's. A batch goes only when it has ended, its keys have run out and no row is held for it; the
 * events that stay are always the newest ones without a gap.
 */

import { limits } from '../../config/limits.ts';
import type { Connection, Database } from './database.ts';
import { sql } from './sql.ts';

export interface RetentionLimits {
  readonly operationsMs: number;
  readonly eventsMs: number;
  /** Batches, and commits' events, that one call removes at most. */
  readonly atMost: number;
}

/** Answers rows removed; 0: nothing is old enough. */
export async function retentionPurge(
  database: Database,
  { operationsMs, eventsMs, atMost }: RetentionLimits,
): Promise<number> {
  const batches = await purgeBatches(database, operationsMs, atMost);
  const answers = await purgeAnswers(database, operationsMs, atMost);
  const tokens = await purgeTokens(database, operationsMs, atMost);
  return batches + answers + tokens + (await purgeEvents(database, eventsMs, atMost));
}

async function purgeAnswers(database: Database, ageMs: number, atMost: number): Promise<number> {
  return purgeRows(database, {
    table: 'remembered_answers',
    key: 'principal, route, key',
    at: 'created_at',
    ageMs,
    atMost,
  });
}

/** They are shown as expired for as long as what was done with them. */
async function purgeTokens(database: Database, ageMs: number, atMost: number): Promise<number> {
  return purgeRows(database, { table: 'tokens', key: 'id', at: 'expires_at', ageMs, atMost });
}

interface AgedRows {
  readonly table: string;
  readonly key: string;
  /** The column with the time from which they age; where it is NULL they stay. */
  readonly at: string;
  readonly ageMs: number;
  readonly atMost: number;
}

async function purgeRows(database: Database, { table, key, at, ageMs, atMost }: AgedRows): Promise<number> {
  const before = sql`${database.engine.now} - CAST(${ageMs} AS bigint)`;
  const aged = sql`FROM ${sql.id(table)} WHERE ${sql.id(at)} < ${before}`;
  const any = await database.read((db) => sql`SELECT 1 ${aged} LIMIT 1`.execute(db));
  if (any.rows.length === 0) return 0;
  const columns = sql.raw(key);
  const { numAffectedRows } = await database.plain((db) =>
    sql`DELETE FROM ${sql.id(table)} WHERE (${columns}) IN (
      SELECT ${columns} ${aged} ORDER BY ${sql.id(at)} ${sql.limit(atMost)})`.execute(db),
  );
  return Number(numAffectedRows ?? 0n);
}

interface Ended {
  readonly seq: number;
  readonly id: string;
}

async function purgeBatches(database: Database, ageMs: number, atMost: number): Promise<number> {
  const expired = (db: Connection) => expiredBatches(database, db, { ageMs, atMost });
  if ((await database.read(expired)).length === 0) return 0;
  return database.plain(async (db) => {
    const batches = await expired(db);
    const ids = database.engine.texts(batches.map(({ id }) => id));
    const seqs = database.engine.rows(batches, { seq: 'bigint' });
    const size = sql.lit(limits.batchOperations);
    const results = [
      await sql`DELETE FROM operations WHERE position IN (
        SELECT o.position FROM ${seqs} AS j JOIN operations AS o
          ON o.position >= j.seq * ${size} AND o.position < (j.seq + 1) * ${size})`.execute(db),
      await sql`DELETE FROM idempotency WHERE batch IN ${ids}`.execute(db),
      await sql`DELETE FROM batches WHERE id IN ${ids} AND state = 'ended'`.execute(db),
    ];
    return results.reduce((sum, { numAffectedRows }) => sum + Number(numAffectedRows ?? 0n), 0);
  });
}

async function expiredBatches(
  database: Database,
  db: Connection,
  { ageMs, atMost }: { readonly ageMs: number; readonly atMost: number },
): Promise<readonly Ended[]> {
  const before = sql`${database.engine.now} - CAST(${ageMs} AS bigint)`;
  const { rows } = await sql<Ended>`
    SELECT seq, id FROM batches
    WHERE state = 'ended' AND ended_at < ${before}
      AND NOT EXISTS (SELECT 1 FROM volumes WHERE volumes.held_by = batches.id)
      AND NOT EXISTS (SELECT 1 FROM attachments WHERE attachments.held_by = batches.id)
      AND NOT EXISTS (SELECT 1 FROM flow_policies WHERE flow_policies.held_by = batches.id)
      AND NOT EXISTS (SELECT 1 FROM idempotency WHERE idempotency.batch = batches.id AND created_at >= ${before})
    ORDER BY ended_at, seq ${sql.limit(atMost)}`.execute(db);
  return rows;
}

/** Up to the first commit that is young enough, so that a clock that jumped leaves no hole. The newest one stays. */
async function purgeEvents(database: Database, ageMs: number, atMost: number): Promise<number> {
  const last = await database.read(async (db) => {
    const { rows } = await sql<{ commit_number: number; expired: number }>`
      SELECT commit_number, CASE WHEN at < ${database.engine.now} - CAST(${ageMs} AS bigint) THEN 1 ELSE 0 END AS expired
      FROM events WHERE commit_number < (SELECT max(commit_number) FROM events)
      ORDER BY commit_number ${sql.limit(atMost)}`.execute(db);
    const young = rows.findIndex(({ expired }) => expired === 0);
    const old = young < 0 ? rows : rows.slice(0, young);
    return old.at(-1)?.commit_number ?? null;
  });
  if (last === null) return 0;
  return database.plain(async (db) => {
    const { numAffectedRows } = await sql`DELETE FROM events WHERE commit_number <= ${last}`.execute(db);
    return Number(numAffectedRows ?? 0n);
  });
}
