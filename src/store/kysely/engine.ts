import { type RawBuilder, sql } from 'kysely';
import type { Engine } from '../../../migrations/0001-initial.ts';

/**
 * The one place where the two SQL engines differ. Lists travel as one JSON parameter, so a statement's text and number
 * do not depend on how many rows it works on.
 */
export type ColumnType = 'text' | 'bigint';

export interface SqlEngine {
  readonly name: Engine;
  /** A table expression over a JSON array of objects. */
  rows(list: readonly object[], columns: Readonly<Record<string, ColumnType>>): RawBuilder<unknown>;
  /** A subquery that yields the strings of a JSON array, for `IN (...)`. */
  texts(list: readonly string[]): RawBuilder<unknown>;
  /** The text of one field of a JSON object that is kept as text; NULL where it is absent. */
  jsonField(column: string, field: string): RawBuilder<string | null>;
  /** The database's own time, ms since the epoch. */
  readonly now: RawBuilder<number>;
}

export const sqliteEngine: SqlEngine = {
  name: 'sqlite',
  rows(list, columns) {
    const picks = Object.keys(columns).map((name) => sql`value ->> ${sql.lit(name)} AS ${sql.id(name)}`);
    return sql`(SELECT ${sql.join(picks)} FROM json_each(${JSON.stringify(list)}))`;
  },
  texts: (list) => sql`(SELECT value FROM json_each(${JSON.stringify(list)}))`,
  jsonField: (column, field) => sql`(${sql.ref(column)} ->> ${field})`,
  now: sql<number>`CAST((julianday('now') - 2440587.5) * 86400000 AS integer)`,
};

export const postgresEngine: SqlEngine = {
  name: 'postgres',
  rows(list, columns) {
    const types = Object.entries(columns).map(([name, type]) => sql`${sql.id(name)} ${sql.raw(type)}`);
    return sql`(SELECT * FROM jsonb_to_recordset(${JSON.stringify(list)}::text::jsonb) AS j(${sql.join(types)}))`;
  },
  texts: (list) => sql`(SELECT jsonb_array_elements_text(${JSON.stringify(list)}::text::jsonb))`,
  jsonField: (column, field) => sql`(CAST(${sql.ref(column)} AS jsonb) ->> CAST(${field} AS text))`,
  now: sql<number>`CAST(extract(epoch from clock_timestamp()) * 1000 AS bigint)`,
};
