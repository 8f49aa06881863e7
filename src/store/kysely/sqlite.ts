import SqliteDatabase from 'better-sqlite3';
import { Kysely } from 'kysely';
import { limits } from '../../config/limits.ts';
import { assert } from '../../domain/errors.ts';
import { Database } from './database.ts';
import { sqliteEngine } from './engine.ts';
import type { Schema } from './schema.ts';
import { preparedDialect } from './sqlite-driver.ts';

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
  const kysely = new Kysely<Schema>({ dialect: preparedDialect(sqlite, () => database?.countStatement()) });
  database = new Database({ engine: sqliteEngine, kysely, fatal });
  return database;
}
