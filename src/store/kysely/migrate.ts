import { randomUUID } from 'node:crypto';
import type { Kysely } from 'kysely';
import { type Migration, Migrator } from 'kysely/migration';
import { type Engine, up as initial } from '../../../migrations/0001-initial.ts';
import { up as parkedBatches } from '../../../migrations/0002-parked-batches.ts';
import { up as firstPool } from '../../../migrations/0003-first-pool.ts';
import { up as failedWipes } from '../../../migrations/0004-failed-wipes.ts';
import { up as rowsByNumber } from '../../../migrations/0005-rows-by-number.ts';
import { Failure } from '../../domain/errors.ts';
import type { Database } from './database.ts';
import { sql } from './sql.ts';

const migrations: Readonly<Record<string, (db: Kysely<unknown>, engine: Engine) => Promise<void>>> = {
  '0001-initial': initial,
  '0002-parked-batches': parkedBatches,
  '0003-first-pool': firstPool,
  '0004-failed-wipes': failedWipes,
  '0005-rows-by-number': rowsByNumber,
};

/** Brings the schema up to date, once over all replicas that start together (the migrator holds a lock). Forward only. */
export async function migrate(database: Database): Promise<void> {
  const migrator = new Migrator({
    db: database.kysely,
    provider: { getMigrations: async () => bound(database.engine.name) },
  });
  const { error } = await migrator.migrateToLatest();
  if (error !== undefined)
    throw new Failure('store-unavailable', 'The store could not be brought up to date.', { cause: error });
  await sql`INSERT INTO meta (key, value) VALUES ('store-id', ${randomUUID()}) ON CONFLICT (key) DO NOTHING`.execute(
    database.connection,
  );
}

function bound(engine: Engine): Record<string, Migration> {
  const entries = Object.entries(migrations).map(
    ([name, up]) => [name, { up: (db: Kysely<unknown>) => up(db, engine) }] as const,
  );
  return Object.fromEntries(entries);
}
