import { randomUUID } from 'node:crypto';
import type { Engine } from '../../../migrations/0001-initial.ts';
import { perObject } from './per-object.ts';
import { quoted, Sql, sql } from './sql.ts';
import { listColumn, listTable, SqliteList } from './sqlite-lists.ts';

/**
 * The one place where the two SQL engines differ. A list travels as one parameter, so a statement's text and number do
 * not depend on how many rows it works on.
 */
export type ColumnType = 'text' | 'bigint';
export type Columns = Readonly<Record<string, ColumnType>>;

export interface SqlEngine {
  readonly name: Engine;
  /** How a transaction begins. */
  readonly begin: string;
  /** The text of a statement with parameters between the texts. */
  statement(texts: readonly string[]): string;
  /** A table expression over a list of objects. Its text is kept by `columns`, which should be the same object each time. */
  rows(list: readonly object[], columns: Columns): Sql;
  /** What yields the strings of a list, for `IN ...`: in parentheses. */
  texts(list: readonly string[]): Sql;
  /** The text of one field of a JSON object that is kept as text; NULL where it is absent. */
  jsonField(column: string, field: string): Sql<string | null>;
  /**
   * A join with the first rows of a table, in the order of `key`, that meet a condition on it (as `f`) and on each row
   * before it; ends in a condition that can be carried on with AND. SQLite has no LATERAL: it finds the keys and looks
   * them up, so `key` and what is carried on have to say which rows are meant.
   */
  joinFirst(table: string, first: FirstRows): Sql;
  /**
   * A column in a condition that is checked on rows found otherwise: both engines would take a partial index on it for
   * the better way, and walk all work for each item of a list.
   */
  unindexed(column: string): Sql;
  /** The database's own time, ms since the epoch. */
  readonly now: Sql<number>;
}

export interface FirstRows {
  readonly as: string;
  readonly key: string;
  readonly descending?: boolean;
  readonly where: Sql;
  readonly limit: number;
}

const sqliteColumns = perObject((columns: Columns) => {
  const names = Object.keys(columns);
  const picks = names.map((name, index) => sql`${sql.ref(listColumn(index))} AS ${sql.id(name)}`);
  const texts = names.map((name) => ` AS ${quoted(name)}`);
  return {
    names,
    many: sql.fixed(sql`${sql.join(picks)} FROM ${sql.id(listTable(names.length))}`),
    /** What stands around the values of the only row. */
    one: ['(SELECT ', ...texts.slice(0, -1).map((text) => `${text}, `), `${texts.at(-1)})`],
  };
});

export const sqliteEngine: SqlEngine = {
  name: 'sqlite',
  begin: 'BEGIN IMMEDIATE',
  statement: (texts) => texts.join('?'),
  rows(list, columns) {
    const { names, many, one } = sqliteColumns(columns);
    const [row] = list;
    // A row alone is cheaper as so many parameters than as a table.
    if (row !== undefined && list.length === 1) {
      return new Sql(
        one,
        names.map((name) => Reflect.get(row, name) ?? null),
      );
    }
    return sql`(SELECT ${many}(${new SqliteList(list, names)}))`;
  },
  texts(list) {
    const [text] = list;
    if (text !== undefined && list.length === 1) return sql`(${text})`;
    return sql`(SELECT ${sql.ref(listColumn(0))} FROM ${sql.id(listTable(1))}(${SqliteList.ofTexts(list)}))`;
  },
  jsonField: (column, field) => sql`(${sql.ref(column)} ->> ${field})`,
  joinFirst: (table, first) =>
    sql`JOIN ${sql.id(table)} AS ${sql.id(first.as)}
      ON ${sql.ref(`${first.as}.${first.key}`)} IN (SELECT ${sql.ref(`f.${first.key}`)} ${firstRows(table, first)})`,
  unindexed: (column) => sql`+${sql.ref(column)}`,
  now: sql<number>`CAST((julianday('now') - 2440587.5) * 86400000 AS integer)`,
};

/**
 * Every statement of a transaction starts from a list and finds its rows by an index. Its plan is kept for a while, maybe
 * made when the tables were small and nothing was known of them, so the ways that suit small tables are closed.
 */
const planning = {
  plan_cache_mode: 'force_generic_plan',
  enable_seqscan: 'off',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
  enable_bitmapscan: 'off',
  jit: 'off',
} as const;

export const postgresEngine: SqlEngine = {
  name: 'postgres',
  begin: ['BEGIN', ...Object.entries(planning).map(([name, value]) => `SET LOCAL ${name} = ${value}`)].join('; '),
  statement: (texts) => texts.reduce((text, next, index) => `${text}$${index}${next}`),
  rows(list, columns) {
    const arrays = Object.entries(columns).map(([name, type]) => {
      const values = list.map((row): unknown => Reflect.get(row, name) ?? null);
      return type === 'text' ? textArray(values) : numberArray(values);
    });
    const names = Object.keys(columns).map((name) => sql.id(name));
    return sql`(SELECT * FROM unnest(${sql.join(arrays)}) AS j(${sql.join(names)}))`;
  },
  texts: (list) => sql`(SELECT unnest(${textArray(list)}))`,
  jsonField: (column, field) => sql`(CAST(${sql.ref(column)} AS jsonb) ->> CAST(${field} AS text))`,
  joinFirst: (table, first) => sql`JOIN LATERAL (SELECT f.* ${firstRows(table, first)}) AS ${sql.id(first.as)} ON TRUE`,
  unindexed: (column) => sql`(${sql.ref(column)} || '')`,
  now: sql<number>`CAST(extract(epoch from clock_timestamp()) * 1000 AS bigint)`,
};

/**
 * The texts behind one another, taken apart again by PostgreSQL: three times as fast as JSON, of which most of a
 * statement's time would be. One more of them stands in front, because an empty text would be split into no text at all.
 */
function textArray(values: readonly unknown[]): Sql {
  const texts = values.map((value) => (value === null ? null : String(value)));
  const separator = absentFrom(texts, '\u001f');
  const absence = absentFrom(texts, '\u001e');
  const joined = texts.map((text) => separator + (text ?? absence)).join('');
  return sql`(string_to_array(${joined}::text, ${separator}::text, ${absence}::text))[2:]`;
}

/** The mark, or another one where a text has it. */
function absentFrom(texts: readonly (string | null)[], mark: string): string {
  return texts.some((text) => text?.includes(mark)) ? absentFrom(texts, randomUUID()) : mark;
}

function numberArray(values: readonly unknown[]): Sql {
  return sql`${`{${values.map((value) => value ?? 'NULL').join()}}`}::bigint[]`;
}

function firstRows(table: string, { key, descending = false, where, limit }: FirstRows): Sql {
  const order = sql`${sql.ref(`f.${key}`)} ${descending ? sql`DESC` : sql``}`;
  return sql`FROM ${sql.id(table)} AS f WHERE ${where} ORDER BY ${order} ${sql.limit(limit)}`;
}
