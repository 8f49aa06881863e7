import SqliteDatabase from 'better-sqlite3';
import { Kysely, SqliteDialect } from 'kysely';
import { limits } from '../../config/limits.ts';
import { assert } from '../../domain/errors.ts';
import { Database } from './database.ts';
import { sqliteEngine } from './engine.ts';
import type { Schema } from './schema.ts';
import { type ListStatement, SqliteLists } from './sqlite-lists.ts';

/**
 * Opens the embedded store. Every commit is fsynced: better-sqlite3's build sets WAL connections to synchronous=NORMAL,
 * so FULL is set and read back (https://www.sqlite.org/pragma.html#pragma_synchronous).
 */
export function openSqlite(path: string, fatal: (error: unknown) => void): Database {
  const sqlite = new SqliteDatabase(path);
  sqlite.pragma('journal_mode = WAL');
  sqlite.pragma('synchronous = FULL');
  sqlite.pragma('foreign_keys = ON');
  sqlite.pragma('busy_timeout = 5000');
  sqlite.pragma('cache_size = -65536');
  // In pages, and just within the limit of the log: a page that changes often goes to the database once a checkpoint.
  sqlite.pragma('wal_autocheckpoint = 16000');
  sqlite.pragma(`journal_size_limit = ${limits.storeLogBytes}`);
  assert(sqlite.pragma('synchronous', { simple: true }) === 2, 'sqlite-synchronous-full');
  assert(sqlite.pragma('journal_mode', { simple: true }) === 'wal', 'sqlite-journal-wal');
  let database: Database | null = null;
  const prepared = new PreparedCache(sqlite, () => database?.countStatement());
  const kysely = new Kysely<Schema>({ dialect: new SqliteDialect({ database: prepared }) });
  database = new Database({ engine: sqliteEngine, kysely, fatal });
  return database;
}

const preparedMax = 500;

/** Kysely prepares each statement anew; the texts here are few and fixed, so compiled ones are kept. */
export class PreparedCache {
  readonly #sqlite: SqliteDatabase.Database;
  readonly #onStatement: () => void;
  readonly #lists: SqliteLists;
  readonly #statements = new Map<string, ListStatement>();

  constructor(sqlite: SqliteDatabase.Database, onStatement: () => void) {
    this.#sqlite = sqlite;
    this.#onStatement = onStatement;
    this.#lists = new SqliteLists(sqlite);
  }

  prepare(text: string): ListStatement {
    this.#onStatement();
    const known = this.#statements.get(text);
    if (known !== undefined) return known;
    const statement = this.#lists.statement(this.#sqlite.prepare<unknown[]>(text));
    if (this.#statements.size < preparedMax) this.#statements.set(text, statement);
    return statement;
  }

  close(): void {
    this.#sqlite.close();
  }
}
