import { Kysely } from 'kysely';
import { Pool, types } from 'pg';
import { limits } from '../../config/limits.ts';
import { Failure } from '../../domain/errors.ts';
import { Database } from './database.ts';
import { postgresEngine } from './engine.ts';
import { pipelinedDialect } from './postgres-driver.ts';
import type { Schema } from './schema.ts';
import { sql } from './sql.ts';

/** PostgreSQL answers bigint and numeric as text; every number of ours fits a double exactly. */
const int8 = 20;
const numeric = 1700;
types.setTypeParser(int8, Number);
types.setTypeParser(numeric, Number);

export interface PostgresOptions {
  readonly connectionsMax: number;
  readonly fatal: (error: unknown) => void;
  /** How long a statement may take, locks included, before its connection counts as dead. Migrations may take longer. */
  readonly answerMs?: number;
  readonly idleInTransactionMs?: number;
}

/** Opens the shared store. `url` is a postgres:// URL. Nothing is connected until the first statement. */
export function openPostgres(url: string, options: PostgresOptions): Database {
  const pool = new Pool({
    connectionString: url,
    max: options.connectionsMax,
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
    // Who is paused within a transaction (or gone without a word) would stop every replica by its locks.
    idle_in_transaction_session_timeout: options.idleInTransactionMs ?? limits.postgresIdleInTransactionMs,
    pipeline: true,
    onConnect: (client) => client.query('SET client_min_messages = warning'),
  });
  // An idle connection that breaks is replaced by the pool; without a listener it would end the process.
  pool.on('error', () => undefined);
  // The same for one that breaks while it is lent: its statements fail, which is all there is to know.
  pool.on('connect', (client) => client.on('error', () => undefined));
  let database: Database | null = null;
  const kysely = new Kysely<Schema>({
    dialect: pipelinedDialect(pool, options.answerMs ?? limits.postgresAnswerMs),
    log: () => database?.countStatement(),
  });
  database = new Database({ engine: postgresEngine, kysely, fatal: options.fatal });
  return database;
}

/** With `fsync` or `synchronous_commit` off an answer would not mean "durable": such a server is refused. */
export async function assertDurable(database: Database): Promise<void> {
  const { rows } = await sql<{ name: string; setting: string }>`
    SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes')`
    .execute(database.connection)
    .catch((error: unknown) => {
      throw new Failure('store-unavailable', `PostgreSQL cannot be used: ${wordsOf(error)}`, { cause: error });
    });
  for (const { name, setting } of rows) {
    if (setting !== 'off') continue;
    throw new Failure(
      'store-unavailable',
      `PostgreSQL runs with ${name} = off; committed work could be lost. Turn it on.`,
    );
  }
}

/** As the server or the network put it: a wrong password, name or address is for a person to mend. */
function wordsOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(wordsOf).join('; ');
  return error instanceof Error ? error.message : String(error);
}
