/** The store's rows, read from its file without the service: what is true after a crash, whoever says otherwise. */
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import type {
  AttachmentTable,
  BatchTable,
  OperationTable,
  PoolTable,
  Schema,
  VolumeTable,
} from '../../src/store/kysely/schema.ts';

export interface StoreImage {
  readonly volumes: readonly VolumeTable[];
  readonly attachments: readonly AttachmentTable[];
  readonly luns: readonly Schema['luns'][];
  readonly pools: readonly PoolTable[];
  readonly openBatches: readonly BatchTable[];
  readonly policies: readonly Schema['flow_policies'][];
  readonly keys: readonly Schema['idempotency'][];
}

const tables = {
  volumes: 'SELECT * FROM volumes ORDER BY id',
  attachments: 'SELECT * FROM attachments ORDER BY id',
  luns: 'SELECT * FROM luns WHERE attachment IS NOT NULL ORDER BY initiator_wwpn, target_wwpn, lun',
  pools: 'SELECT * FROM pools ORDER BY name',
  openBatches: "SELECT * FROM batches WHERE state <> 'ended' ORDER BY seq",
  policies: 'SELECT * FROM flow_policies ORDER BY id',
  keys: 'SELECT * FROM idempotency ORDER BY key',
} as const satisfies Record<keyof StoreImage, string>;

export function readStore(file: string): StoreImage {
  return withStore(file, (store) => {
    const read = (text: string) => store.prepare(text).all();
    const all = Object.entries(tables).map(([name, text]) => [name, read(text)]);
    return Object.fromEntries(all) as StoreImage;
  });
}

/** Of a service that is dead: a copy, because opening the file itself would already recover it. */
export function readDeadStore(file: string): StoreImage | null {
  const directory = mkdtempSync('/var/tmp/fcr-crash-store-');
  try {
    const copy = join(directory, 'store.sqlite');
    for (const suffix of ['', '-wal']) if (existsSync(file + suffix)) copyFileSync(file + suffix, copy + suffix);
    return existsSync(copy) ? readStore(copy) : null;
  } catch {
    return null;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

export interface Cursor {
  readonly oldest: number | null;
  readonly newest: number | null;
  readonly count: number;
  readonly commits: number;
}

export function readCursor(file: string): Cursor {
  return withStore(file, (store) => {
    const text = `SELECT min(commit_number) AS oldest, max(commit_number) AS newest, count(*) AS count,
      (SELECT value FROM sequences WHERE name = 'commit') AS commits FROM events`;
    return store.prepare<[], Cursor>(text).get() ?? { oldest: null, newest: null, count: 0, commits: 0 };
  });
}

export function readOperations(file: string): readonly OperationTable[] {
  return withStore(file, (store) => store.prepare<[], OperationTable>('SELECT * FROM operations').all());
}

/** Signs of life and leases change with time alone. */
const restless: Readonly<Record<string, readonly string[]>> = {
  hosts: ['last_seen_at', 'inventory_sequence', 'version'],
  storage_nodes: ['last_seen_at', 'version'],
};
const unwatched: readonly string[] = ['leases', 'events', 'sequences', 'migrations'];

/** Every row of every table that says what is wanted or known, one text each. */
export function readRows(file: string): ReadonlySet<string> {
  return withStore(file, (store) => {
    const names = store.prepare<[], { name: string }>("SELECT name FROM sqlite_master WHERE type = 'table'").all();
    const rows = new Set<string>();
    for (const { name } of names.filter(
      (table) => !unwatched.includes(table.name) && !table.name.includes('migration'),
    )) {
      for (const row of store.prepare<[], Record<string, unknown>>(`SELECT * FROM "${name}"`).all()) {
        for (const column of restless[name] ?? []) delete row[column];
        rows.add(`${name} ${JSON.stringify(row)}`);
      }
    }
    return rows;
  });
}

function withStore<T>(file: string, work: (store: SqliteDatabase.Database) => T): T {
  const store = new SqliteDatabase(file, { readonly: true, timeout: 5_000 });
  try {
    return store.transaction(() => work(store))();
  } finally {
    store.close();
  }
}
