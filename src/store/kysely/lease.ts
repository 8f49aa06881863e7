/**
 * Leases in the database's time, and the store's own identity. A lease's row stays when it is dropped, so that its
 * fencing token rises with every owner for as long as the store lives.
 */

import { randomUUID } from 'node:crypto';
import { assert } from '../../domain/errors.ts';
import type { InventoryBegun } from '../../domain/host.ts';
import type { LeaseTerm } from '../store.ts';
import type { Connection, Database } from './database.ts';
import { type Sql, sql } from './sql.ts';

/**
 * The token, or null while another owner holds the lease. The holder extends it under the same token. For another token
 * no change may be under way: what `isHeld` found in it has to be true until its commit.
 */
export async function leaseTake(
  database: Database,
  name: string,
  { owner, ttlMs }: { readonly owner: string; readonly ttlMs: number },
): Promise<number | null> {
  const { now } = database.engine;
  return database.plain(async (db) => {
    const until = sql`${now} + CAST(${ttlMs} AS bigint)`;
    const extended = await sql<{ token: number }>`
      UPDATE leases SET until = ${until} WHERE name = ${name} AND owner = ${owner} AND until > ${now}
      RETURNING token`.execute(db);
    if (extended.rows[0] !== undefined) return extended.rows[0].token;
    await sql`UPDATE sequences SET value = value WHERE name = 'commit'`.execute(db);
    // No lease ends later than this: the clock has been set back since, and a dead owner would keep it for as long.
    await sql`UPDATE leases SET until = ${until} WHERE name = ${name} AND until > ${until}`.execute(db);
    const taken = await sql<{ token: number }>`
      INSERT INTO leases (name, owner, token, until) VALUES (${name}, ${owner}, 1, ${until})
      ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until, token = leases.token + 1
      WHERE leases.owner = excluded.owner OR leases.until <= ${now}
      RETURNING token`.execute(db);
    return taken.rows[0]?.token ?? null;
  });
}

/** A condition of a change: where it is met, it is until the commit. */
export function isHeld(lease: LeaseTerm | null): Sql {
  if (lease === null) return sql.raw('TRUE');
  return sql`EXISTS (SELECT 1 FROM leases WHERE name = ${lease.name} AND token = ${lease.token})`;
}

export async function leaseDrop(database: Database, name: string, owner: string): Promise<void> {
  await database.plain((db) => sql`UPDATE leases SET until = 0 WHERE name = ${name} AND owner = ${owner}`.execute(db));
}

export async function leaseHeld(database: Database, name: string): Promise<boolean> {
  const { now } = database.engine;
  const { rows } = await database.read((db) =>
    sql`SELECT 1 FROM leases WHERE name = ${name} AND until > ${now}`.execute(db),
  );
  return rows.length > 0;
}

const idKey = 'store-id';
const replacedPrefix = 'replaced-store/';

export interface Stamp {
  readonly storeId: string;
  readonly highestGeneration: number;
}

export async function storeStamp(database: Database): Promise<Stamp> {
  const { rows } = await database.read((db) =>
    sql<Stamp>`
      SELECT meta.value AS "storeId", sequences.value AS "highestGeneration" FROM meta, sequences
      WHERE meta.key = 'store-id' AND sequences.name = 'commit'`.execute(db),
  );
  const stamp = rows[0];
  assert(stamp !== undefined, 'store-without-stamp');
  return { storeId: stamp.storeId, highestGeneration: stamp.highestGeneration };
}

/** What the store issues from now on is higher than `above`. Event cursors jump over the numbers that are left out. */
export async function generationRaise(database: Database, above: number): Promise<void> {
  await database.plain((db) =>
    sql`UPDATE sequences SET value = ${above} WHERE name = 'commit' AND value < ${above}`.execute(db),
  );
}

export async function storeReplaces(database: Database, former: string | null): Promise<void> {
  await database.change(async ({ db }) => {
    const { storeId, replacedStoreIds } = await storeIdentity(db);
    if (former !== null && replacedStoreIds.includes(former)) return;
    for (const id of [storeId, former ?? storeId]) {
      await sql`INSERT INTO meta (key, value) VALUES (${replacedPrefix + id}, ${id}) ON CONFLICT (key) DO NOTHING`.execute(
        db,
      );
    }
    await sql`UPDATE meta SET value = ${randomUUID()} WHERE key = ${idKey}`.execute(db);
  });
}

export async function storeIdentity(db: Connection): Promise<Omit<InventoryBegun, 'sequence'>> {
  const { rows } = await sql<{ key: string; value: string }>`
    SELECT key, value FROM meta WHERE key = ${idKey} OR key LIKE ${`${replacedPrefix}%`} ORDER BY key`.execute(db);
  const storeId = rows.find(({ key }) => key === idKey)?.value;
  assert(storeId !== undefined, 'store-without-id');
  return { storeId, replacedStoreIds: rows.flatMap(({ key, value }) => (key === idKey ? [] : [value])) };
}
