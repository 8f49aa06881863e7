/** The thread that owns the embedded store: the journal, the planner and SQLite, behind the store's port. */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../domain/errors.ts';
import { groupPlanner } from '../operations/planner.ts';
import type { JournalOptions } from '../store/kysely/journal.ts';
import { kyselyStore } from '../store/kysely/kysely-store.ts';
import { migrate } from '../store/kysely/migrate.ts';
import { openSqlite } from '../store/kysely/sqlite.ts';
import { serveStore, tellFatal } from '../store/thread/serve-store.ts';

export interface StoreThreadData {
  readonly file: string;
  readonly options: JournalOptions;
}

const port = parentPort;
assert(port !== null, 'store-thread-port');
const { file, options }: StoreThreadData = workerData;
const database = openSqlite(file, (error) => tellFatal(port, error));
await migrate(database);
serveStore(port, kyselyStore(database, groupPlanner, options));
