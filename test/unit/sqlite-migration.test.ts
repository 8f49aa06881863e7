/** A store that an earlier version has filled. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type Kysely, sql } from 'kysely';
import { Migrator } from 'kysely/migration';
import { up as initial } from '../../migrations/0001-initial.ts';
import { up as parkedBatches } from '../../migrations/0002-parked-batches.ts';
import { up as firstPool } from '../../migrations/0003-first-pool.ts';
import { up as failedWipes } from '../../migrations/0004-failed-wipes.ts';
import type { Database } from '../../src/store/kysely/database.ts';
import { migrate } from '../../src/store/kysely/migrate.ts';
import { openSqlite } from '../../src/store/kysely/sqlite.ts';

const earlier = {
  '0001-initial': { up: (db: Kysely<unknown>) => initial(db, 'sqlite') },
  '0002-parked-batches': { up: parkedBatches },
  '0003-first-pool': { up: firstPool },
  '0004-failed-wipes': { up: failedWipes },
};
const tables = ['batches', 'operations', 'events'] as const;

async function filled(t: ExecutionContext): Promise<Database> {
  const directory = mkdtempSync(join(tmpdir(), 'fcr-store-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const database = openSqlite(join(directory, 'store.db'), (error) => t.fail(String(error)));
  t.teardown(() => database.kysely.destroy());
  const db = database.kysely;
  const migrator = new Migrator({ db, provider: { getMigrations: async () => earlier } });
  t.is((await migrator.migrateToLatest()).error, undefined);
  await sql`INSERT INTO batches VALUES
    (7, 'batch_7', 'running', 'per-operation', NULL, NULL, '[]', 2, 'admin', 0, 5, 1, NULL, 'a bug'),
    (3, 'batch_3', 'ended', 'all-or-nothing', 'undoing', '{}', '[]', 1, 'admin', 0, 0, 1, 2, NULL)`.execute(db);
  await sql`INSERT INTO operations VALUES
    (7001, 'batch_7', 'volume.create', 'failed', NULL, 0, '{}', 'admin', 1, 4),
    (3000, 'batch_3', 'volume.delete', 'succeeded', '{}', 1, NULL, 'admin', 1, 2)`.execute(db);
  await sql`INSERT INTO events VALUES (9, 4, '[]'), (8, 2, '[]')`.execute(db);
  return database;
}

async function rows({ kysely }: Database): Promise<unknown[]> {
  return Promise.all(
    tables.map(async (table) => (await sql`SELECT * FROM ${sql.id(table)} ORDER BY 1`.execute(kysely)).rows),
  );
}

async function names({ kysely }: Database): Promise<string[]> {
  const answer = await sql<{ name: string }>`SELECT name FROM sqlite_schema ORDER BY name`.execute(kysely);
  return answer.rows.map(({ name }) => name);
}

test('a store of an earlier version keeps its journal and its events, by number and beside no index of the same', async (t) => {
  const database = await filled(t);
  const before = { rows: await rows(database), names: await names(database) };
  await migrate(database);
  t.deepEqual(await rows(database), before.rows);
  const gone = new Set(['attachments_work', ...tables.map((table) => `sqlite_autoindex_${table}_1`)]);
  t.deepEqual(
    await names(database),
    before.names.filter((name) => !gone.has(name)),
  );
  t.true([...gone].every((name) => before.names.includes(name)));
});

test('a migration that fails half-way leaves the store as it was, and is made again', async (t) => {
  const database = await filled(t);
  const before = { rows: await rows(database), names: await names(database) };
  await sql`CREATE TABLE new_operations (in_the_way text)`.execute(database.kysely);
  await t.throwsAsync(migrate(database), { message: /could not be brought up to date/ });
  await sql`DROP TABLE new_operations`.execute(database.kysely);
  t.deepEqual({ rows: await rows(database), names: await names(database) }, before);
  await migrate(database);
  t.deepEqual(await rows(database), before.rows);
});
