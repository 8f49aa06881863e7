import { type RawBuilder, sql } from 'kysely';
import type { Engine } from '../../../migrations/0001-initial.ts';
import { listColumn, listTable, SqliteList } from './sqlite-lists.ts';

/**
 * The one place where the two SQL engines differ. A list travels as one parameter, so a statement's text and number do
 * not depend on how many rows it works on.
 */
export type ColumnType = 'text' | 'bigint';

export interface SqlEngine {
  readonly name: Engine;
  /** A table expression over a list of objects. */
  rows(list: readonly object[], columns: Readonly<Record<string, ColumnType>>): RawBuilder<unknown>;
  /** A subquery that yields the strings of a list, for `IN (...)`. */
  texts(list: readonly string[]): RawBuilder<unknown>;
  /** The text of one field of a JSON object that is kept as text; NULL where it is absent. */
  jsonField(column: string, field: string): RawBuilder<string | null>;
  /**
   * A join with the rows of a table whose `key` a subquery picks for each row before it (it yields a column `id`); ends
   * in a condition that can be carried on with AND. PostgreSQL needs LATERAL, or it runs the subquery for every row of
   * the table; SQLite has no LATERAL and looks the keys up.
   */
  joinPicked(
    table: string,
    picked: { readonly as: string; readonly key: string; readonly ids: RawBuilder<unknown> },
  ): RawBuilder<unknown>;
  /**
   * A column in a condition that is checked on rows found otherwise: SQLite would take a partial index on it for the
   * better way, and walk all work for each item of a list.
   */
  unindexed(column: string): RawBuilder<unknown>;
  /** The database's own time, ms since the epoch. */
  readonly now: RawBuilder<number>;
}

export const sqliteEngine: SqlEngine = {
  name: 'sqlite',
  rows(list, columns) {
    const names = Object.keys(columns);
    const picks = names.map((name, index) => sql`${sql.ref(listColumn(index))} AS ${sql.id(name)}`);
    return sql`(SELECT ${sql.join(picks)} FROM ${sql.table(listTable(names.length))}(${new SqliteList(list, names)}))`;
  },
  texts: (list) => sql`(SELECT ${sql.ref(listColumn(0))} FROM ${sql.table(listTable(1))}(${SqliteList.ofTexts(list)}))`,
  jsonField: (column, field) => sql`(${sql.ref(column)} ->> ${field})`,
  joinPicked: (table, { as, key, ids }) =>
    sql`JOIN ${sql.table(table)} AS ${sql.table(as)} ON ${sql.ref(`${as}.${key}`)} IN (${ids})`,
  unindexed: (column) => sql`+${sql.ref(column)}`,
  now: sql<number>`CAST((julianday('now') - 2440587.5) * 86400000 AS integer)`,
};

export const postgresEngine: SqlEngine = {
  name: 'postgres',
  rows(list, columns) {
    const types = Object.entries(columns).map(([name, type]) => sql`${sql.id(name)} ${sql.raw(type)}`);
    return sql`(SELECT * FROM jsonb_to_recordset(${JSON.stringify(list, Object.keys(columns))}::text::jsonb) AS j(${sql.join(types)}))`;
  },
  texts: (list) => sql`(SELECT jsonb_array_elements_text(${JSON.stringify(list)}::text::jsonb))`,
  jsonField: (column, field) => sql`(CAST(${sql.ref(column)} AS jsonb) ->> CAST(${field} AS text))`,
  joinPicked: (table, { as, key, ids }) => sql`CROSS JOIN LATERAL (${ids}) AS picked
    JOIN ${sql.table(table)} AS ${sql.table(as)} ON ${sql.ref(`${as}.${key}`)} = picked.id`,
  unindexed: (column) => sql.ref(column),
  now: sql<number>`CAST(extract(epoch from clock_timestamp()) * 1000 AS bigint)`,
};
