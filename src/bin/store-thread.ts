/** The thread that owns the embedded store: the journal, the planner and SQLite, behind the store's port. */
import { dirname } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../domain/errors.ts';
import { groupPlanner } from '../operations/planner.ts';
import { type Database, isFull } from '../store/kysely/database.ts';
import type { JournalOptions } from '../store/kysely/journal.ts';
import { kyselyStore } from '../store/kysely/kysely-store.ts';
import { migrate } from '../store/kysely/migrate.ts';
import { openSqlite } from '../store/kysely/sqlite.ts';
import { SqliteRoom } from '../store/kysely/sqlite-room.ts';
import type { Store } from '../store/store.ts';
import { serveStore, tellFatal, tellUnopened } from '../store/thread/serve-store.ts';
import { fullDisk, isDiskFull } from '../system/full-disk.ts';

export interface StoreThreadData {
  readonly file: string;
  readonly options: JournalOptions;
}

const port = parentPort;
assert(port !== null, 'store-thread-port');
const { file, options }: StoreThreadData = workerData;
const room = SqliteRoom.forStart(file);
try {
  const database = openSqlite(file, (error) => tellFatal(port, error));
  await migrate(database);
  room.keep();
  serveStore(port, storeOn(database));
} catch (error) {
  takeBackRoom();
  if (!isFull(error) && !isDiskFull(error)) throw error;
  tellUnopened(port, fullDisk(dirname(file), error));
}

function takeBackRoom(): void {
  try {
    room.takeBack();
  } catch {
    // What the start has failed with is to be told.
  }
}

function storeOn(database: Database): Store {
  const store = kyselyStore(database, groupPlanner, options);
  const close = async () => {
    await store.close();
    room.close();
  };
  return { ...store, close };
}
