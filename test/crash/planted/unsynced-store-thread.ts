/** The embedded store's thread, with a store that trusts the page cache. */
import assert from 'node:assert';
import { parentPort, workerData } from 'node:worker_threads';
import SqliteDatabase from 'better-sqlite3';
import { Kysely } from 'kysely';
import type { StoreThreadData } from '../../../src/bin/store-thread.ts';
import { groupPlanner } from '../../../src/operations/planner.ts';
import { Database } from '../../../src/store/kysely/database.ts';
import { sqliteEngine } from '../../../src/store/kysely/engine.ts';
import { kyselyStore } from '../../../src/store/kysely/kysely-store.ts';
import { migrate } from '../../../src/store/kysely/migrate.ts';
import type { Schema } from '../../../src/store/kysely/schema.ts';
import { preparedDialect } from '../../../src/store/kysely/sqlite-driver.ts';
import { serveStore, tellFatal } from '../../../src/store/thread/serve-store.ts';

const port = parentPort;
assert(port !== null);
const { file, options }: StoreThreadData = workerData;
const sqlite = new SqliteDatabase(file);
sqlite.pragma('journal_mode = WAL');
sqlite.pragma('synchronous = OFF');
const kysely = new Kysely<Schema>({ dialect: preparedDialect(sqlite, () => undefined) });
const database = new Database({ engine: sqliteEngine, kysely, fatal: (error) => tellFatal(port, error) });
await migrate(database);
serveStore(port, kyselyStore(database, groupPlanner, options));
