/**
 * Rows of one table written as a set: one statement each, whatever their number. Their texts follow from the table and its
 * columns alone, so they are put together once.
 */
import type { QueryResult } from 'kysely';
import { assert } from '../../domain/errors.ts';
import { type Connection, together } from './database.ts';
import type { Columns, SqlEngine } from './engine.ts';
import { perObject } from './per-object.ts';
import { type Sql, sql } from './sql.ts';

export interface Place {
  readonly db: Connection;
  readonly engine: SqlEngine;
}

export interface Versioned {
  readonly id: string;
  readonly version: number;
}

export interface ChangedRecord<T> {
  /** As it is to be, with the version that it still must have. */
  readonly record: T;
  /** The columns in which it differs. */
  readonly columns: readonly string[];
}

const none: ReadonlySet<string> = new Set();

export async function insertRows(
  { db, engine }: Place,
  table: string,
  columns: Columns,
  rows: readonly object[],
): Promise<void> {
  if (rows.length === 0) return;
  await sql`${insertText(table, columns)} ${engine.rows(rows, columns)} c`.execute(db);
}

export async function removeRows({ db, engine }: Place, table: string, rows: readonly Versioned[]): Promise<void> {
  if (rows.length === 0) return;
  const list = engine.rows(rows, versionedColumns);
  const answer =
    await sql`DELETE FROM ${sql.id(table)} WHERE (id, version) IN (SELECT id, version FROM ${list} c)`.execute(db);
  assertAffected(answer, rows, `write-removed-${table}`);
}

/**
 * One statement for each set of columns that changes, of which there are as many as kinds of operations: an index is
 * touched for every column that is named, changed or not. Changes of nothing but `unversioned` columns leave the version
 * as it is; they are the same for all calls with these `columns`.
 */
export async function updateRows<T extends Versioned>(
  place: Place,
  table: string,
  columns: Columns,
  changed: readonly ChangedRecord<T>[],
  unversioned: ReadonlySet<string> = none,
): Promise<void> {
  const bySet = Map.groupBy(changed, (one) => one.columns.join());
  const updates = [...bySet.values()].map((rows) => {
    const texts = updateTexts({ table, columns, unversioned }, rows[0]?.columns ?? []);
    return updateColumns(place, table, texts, rows);
  });
  await together(...updates);
}

async function updateColumns<T extends Versioned>(
  { db, engine }: Place,
  table: string,
  { types, update }: UpdateTexts,
  changed: readonly ChangedRecord<T>[],
): Promise<void> {
  const records = changed.map(({ record }) => record);
  const answer =
    await sql`${update} FROM ${engine.rows(records, types)} c WHERE t.id = c.id AND t.version = c.version`.execute(db);
  assertAffected(answer, changed, `write-changed-${table}`);
}

/** Each of the rows was there as it was planned on. */
export function assertAffected(answer: QueryResult<unknown>, rows: readonly unknown[], id: string): void {
  assert(answer.numAffectedRows === BigInt(rows.length), id);
}

const versionedColumns: Columns = { id: 'text', version: 'bigint' };

const insertsOf = perObject((_columns: Columns) => new Map<string, Sql>());

function insertText(table: string, columns: Columns): Sql {
  return known(insertsOf(columns), table, () => {
    const names = Object.keys(columns).map((name) => sql.id(name));
    const values = names.map((name) => sql`c.${name}`);
    return sql.fixed(sql`INSERT INTO ${sql.id(table)} (${sql.join(names)}) SELECT ${sql.join(values)} FROM`);
  });
}

interface UpdateTexts {
  readonly types: Columns;
  readonly update: Sql;
}

interface Updated {
  readonly table: string;
  readonly columns: Columns;
  readonly unversioned: ReadonlySet<string>;
}

const updatesOf = perObject((_columns: Columns) => new Map<string, UpdateTexts>());

function updateTexts({ table, columns, unversioned }: Updated, names: readonly string[]): UpdateTexts {
  return known(updatesOf(columns), `${table} ${names.join()}`, () => {
    const isVersioned = !names.every((name) => unversioned.has(name));
    const sets = names.map((name) => sql`${sql.id(name)} = c.${sql.id(name)}`);
    const version = isVersioned ? sql`version = t.version + 1` : sql`version = t.version`;
    return {
      types: Object.fromEntries(['id', ...names, 'version'].map((name) => [name, columns[name] ?? 'text'] as const)),
      update: sql.fixed(sql`UPDATE ${sql.id(table)} AS t SET ${sql.join([...sets, version])}`),
    };
  });
}

function known<T>(texts: Map<string, T>, key: string, make: () => T): T {
  const found = texts.get(key);
  if (found !== undefined) return found;
  const text = make();
  texts.set(key, text);
  return text;
}
