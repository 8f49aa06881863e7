/** The figures that metrics and readiness show. */

import type { StoreCounters } from '../store.ts';
import type { Database } from './database.ts';
import { poolResource } from './rows.ts';
import { sql } from './sql.ts';
import { wipeBacklog } from './wipe.ts';

export async function counters(database: Database): Promise<StoreCounters> {
  const pools = await database.read((db) => db.selectFrom('pools').selectAll().orderBy('name').execute());
  return {
    hasSpace: await database.hasSpace(),
    rowChanges: await rowChanges(database),
    pools: pools.map(poolResource),
    operationsWaiting: await operationsWaiting(database),
    wipeBacklog: await wipeBacklog(database),
    attachmentsByState: await attachmentsByState(database),
  };
}

async function operationsWaiting(database: Database): Promise<number> {
  const { rows } = await database.read((db) =>
    sql<{ waiting: number | null }>`
      SELECT CAST(sum(operation_count) AS bigint) AS waiting FROM batches WHERE state <> 'ended'`.execute(db),
  );
  return rows[0]?.waiting ?? 0;
}

async function attachmentsByState(database: Database): Promise<Readonly<Record<string, number>>> {
  const { rows } = await database.read((db) =>
    sql<{ state: string; count: number }>`
      SELECT state, count(*) AS count FROM attachments GROUP BY state ORDER BY state`.execute(db),
  );
  return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
}

async function rowChanges(database: Database): Promise<number> {
  const source =
    database.engine.name === 'sqlite'
      ? sql<{ changes: number }>`SELECT total_changes() AS changes`
      : sql<{ changes: number }>`
          SELECT CAST(coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) AS bigint) AS changes FROM pg_stat_user_tables`;
  const { rows } = await database.read((db) => source.execute(db));
  return rows[0]?.changes ?? 0;
}
