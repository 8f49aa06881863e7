import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
} from 'kysely';
import { DatabaseError, type Pool, type PoolClient } from 'pg';
import { limits } from '../../config/limits.ts';
import { assert } from '../../domain/errors.ts';
import type { StatementConnection } from './database.ts';
import { postgresEngine } from './engine.ts';
import type { Sql } from './sql.ts';

/**
 * PostgreSQL as Kysely's own dialect has it, but for two things. A connection sends a statement without waiting for the
 * answers to those before it (the pool's clients are in pipeline mode). And the statements of our transactions, which
 * are few texts, are parsed once a connection and planned once in a while, so that plans follow the tables' growth
 * between two ANALYZE; `BEGIN` says under which rules they are planned.
 */
export function pipelinedDialect(pool: Pool, answerMs: number): Dialect {
  return {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new PoolDriver(pool, answerMs),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  };
}

class PoolDriver implements Driver {
  readonly #pool: Pool;
  readonly #answerMs: number;
  readonly #names = new StatementNames();
  readonly #connections = new WeakMap<PoolClient, PoolConnection>();
  readonly #clients = new WeakMap<DatabaseConnection, PoolClient>();

  constructor(pool: Pool, answerMs: number) {
    this.#pool = pool;
    this.#answerMs = answerMs;
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<DatabaseConnection> {
    const client = await this.#pool.connect();
    const known = this.#connections.get(client);
    if (known !== undefined) return known;
    const connection = new PoolConnection(client, this.#names, this.#answerMs);
    this.#connections.set(client, connection);
    this.#clients.set(connection, client);
    return connection;
  }

  /** Kysely's own transactions are those of migrations. */
  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw(migrationBegin));
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('commit'));
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('rollback'));
  }

  async releaseConnection(connection: DatabaseConnection): Promise<void> {
    this.#clients.get(connection)?.release();
  }

  async destroy(): Promise<void> {
    await this.#pool.end();
  }
}

class PoolConnection implements StatementConnection {
  readonly #client: PoolClient;
  readonly #names: StatementNames;
  readonly #answerMs: number;
  #inTransaction = false;
  /** A migration takes as long as the tables are large, and waits as long as another replica's takes. */
  #isMigrating = false;
  /** What failed first in this transaction: PostgreSQL refuses all that was sent behind it. */
  #failure: unknown = null;
  #plannedAt = performance.now();

  constructor(client: PoolClient, names: StatementNames, answerMs: number) {
    this.#client = client;
    this.#names = names;
    this.#answerMs = answerMs;
  }

  run<T>(statement: Sql<T>): Promise<QueryResult<T>> {
    const { texts, parameters } = statement.flat();
    return this.executeQuery<T>(CompiledQuery.raw(postgresEngine.statement(texts), [...parameters]));
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    if (sql === postgresEngine.begin) this.#begin();
    else if (sql === migrationBegin) this.#isMigrating = true;
    else if (sql === 'commit' || sql === 'rollback') this.#isMigrating = false;
    else if (sql === 'COMMIT' || sql === 'ROLLBACK') this.#inTransaction = false;
    const prepared = this.#inTransaction && parameters.length > 0;
    const name = prepared ? this.#names.of(sql) : undefined;
    try {
      const answer = await this.#client.query({
        text: sql,
        values: [...parameters],
        ...(name && { name }),
        ...(!this.#isMigrating && { query_timeout: this.#answerMs }),
      });
      // That is how PostgreSQL answers COMMIT after a statement that failed.
      assert(sql !== 'COMMIT' || answer.command === 'COMMIT', 'postgres-commit-of-failed-transaction');
      return { rows: (answer.rows ?? []) as R[], numAffectedRows: BigInt(answer.rowCount ?? 0) };
    } catch (error) {
      if (isOutdatedPlan(error)) this.#names.renew();
      if (!isRefusedAfterFailure(error)) this.#failure = error;
      throw this.#failure ?? error;
    }
  }

  #begin(): void {
    this.#inTransaction = true;
    this.#failure = null;
    if (performance.now() - this.#plannedAt < limits.postgresPlanMs) return;
    this.#plannedAt = performance.now();
    // A connection that breaks here fails what is sent after it.
    this.#client.query('DISCARD PLANS').catch(() => undefined);
  }

  /** Nothing is read through cursors. */
  streamQuery(): never {
    assert(false, 'postgres-stream');
  }
}

const migrationBegin = 'begin';

const preparedMax = 500;

/** One name for each text over all connections. */
class StatementNames {
  readonly #names = new Map<string, string>();
  #round = 0;

  /** Undefined when there are too many texts: then the statement is not kept. */
  of(text: string): string | undefined {
    const known = this.#names.get(text);
    if (known !== undefined || this.#names.size >= preparedMax) return known;
    const name = `fcr_${this.#round}_${this.#names.size}`;
    this.#names.set(text, name);
    return name;
  }

  renew(): void {
    this.#round += 1;
    this.#names.clear();
  }
}

function isRefusedAfterFailure(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === '25P02';
}

/** A newer replica has added columns to a table: statements have to be prepared anew, under other names. */
function isOutdatedPlan(error: unknown): boolean {
  return error instanceof Error && error.message === 'cached plan must not change result type';
}
