/** The thread that owns the embedded store: the journal, the planner and SQLite, behind the store's port. */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../domain/errors.ts';
import { groupPlanner } from '../operations/planner.ts';
import { type Database, isFull } from '../store/kysely/database.ts';
import type { JournalOptions } from '../store/kysely/journal.ts';
import { kyselyStore } from '../store/kysely/kysely-store.ts';
import { migrate } from '../store/kysely/migrate.ts';
import { openSqlite } from '../store/kysely/sqlite.ts';
import { SqliteRoom } from '../store/kysely/sqlite-room.ts';
import { serveStore, tellFatal } from '../store/thread/serve-store.ts';

export interface StoreThreadData {
  readonly file: string;
  readonly options: JournalOptions;
}

const port = parentPort;
assert(port !== null, 'store-thread-port');
const { file, options }: StoreThreadData = workerData;
const room = SqliteRoom.forStart(file);
const database = await opened((error) => tellFatal(port, error));
room.keep();
const store = kyselyStore(database, groupPlanner, options);
const close = async () => {
  await store.close();
  room.close();
};
serveStore(port, { ...store, close });

async function opened(onFatal: (error: unknown) => void): Promise<Database> {
  try {
    const database = openSqlite(file, onFatal);
    await migrate(database);
    return database;
  } catch (error) {
    if (!isFull(error)) throw error;
    throw new Error('The disk of the store is full: free some space, then start again.', { cause: error });
  }
}
