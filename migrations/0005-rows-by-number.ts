import { type Kysely, sql } from 'kysely';
import type { Engine } from './0001-initial.ts';

/**
 * What each commit appends to is kept by its number. Only where SQLite reads the very word INTEGER is such a key the row's
 * own place; under any other name it was an index beside the table, and each commit wrote to both. And an index goes that
 * no statement looks into: https://www.sqlite.org/lang_createtable.html#rowid
 */
export async function up(db: Kysely<unknown>, engine: Engine): Promise<void> {
  await sql`DROP INDEX IF EXISTS attachments_work`.execute(db);
  if (engine !== 'sqlite') return;
  for (const { name, key, columns, indexes } of tables) {
    const parts = { made: sql.id(`new_${name}`), table: sql.id(name), key: sql.id(key), others: sql.raw(columns) };
    await sql`CREATE TABLE ${parts.made} (${parts.key} integer PRIMARY KEY NOT NULL, ${parts.others})`.execute(db);
    await sql`INSERT INTO ${parts.made} SELECT * FROM ${parts.table} ORDER BY ${parts.key}`.execute(db);
    await sql`DROP TABLE ${parts.table}`.execute(db);
    await sql`ALTER TABLE ${parts.made} RENAME TO ${parts.table}`.execute(db);
    for (const index of indexes) await sql.raw(index).execute(db);
  }
}

/** As they are by now, in the same order of columns; the key is the first. */
const tables = [
  {
    name: 'batches',
    key: 'seq',
    columns: `id text NOT NULL, state text NOT NULL, atomicity text NOT NULL, decision text, failure text,
      operations text NOT NULL, operation_count bigint NOT NULL, principal text NOT NULL, ready bigint NOT NULL,
      lease_until bigint NOT NULL, accepted_at bigint NOT NULL, ended_at bigint, parked text`,
    indexes: [
      'CREATE UNIQUE INDEX batches_id ON batches (id)',
      'CREATE INDEX batches_ready ON batches (seq) WHERE ready = 1',
      `CREATE INDEX batches_ended ON batches (ended_at, seq) WHERE state = 'ended'`,
      `CREATE INDEX batches_open ON batches (seq, operation_count) WHERE state <> 'ended'`,
      'CREATE INDEX batches_parked ON batches (seq) WHERE parked IS NOT NULL',
    ],
  },
  {
    name: 'operations',
    key: 'position',
    columns: `batch text NOT NULL, type text NOT NULL, state text NOT NULL, resource text, existing bigint NOT NULL,
      problem text, principal text NOT NULL, accepted_at bigint NOT NULL, ended_at bigint NOT NULL`,
    indexes: [`CREATE INDEX operations_failed ON operations (position) WHERE state = 'failed'`],
  },
  { name: 'events', key: 'commit_number', columns: 'at bigint NOT NULL, items text NOT NULL', indexes: [] },
];
