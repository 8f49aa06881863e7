import type SqliteDatabase from 'better-sqlite3';
import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely';
import { assert } from '../../domain/errors.ts';
import type { StatementConnection } from './database.ts';
import { sqliteEngine } from './engine.ts';
import type { Sql } from './sql.ts';
import { SqliteLists } from './sqlite-lists.ts';

/**
 * SQLite as Kysely's own dialect has it, but for three things. Migrations are transactions. Compiled statements are kept, as their texts are few and
 * fixed. And ours run at once, as what they are: on the way through a compiled query a short one spends more time than in
 * SQLite.
 */
export function preparedDialect(sqlite: SqliteDatabase.Database, onStatement: () => void): Dialect {
  return {
    createAdapter: () => new PreparedAdapter(),
    createDriver: () => new PreparedDriver(sqlite, onStatement),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  };
}

class PreparedAdapter extends SqliteAdapter {
  /** It is, though Kysely does not use it: a migration that a crash cuts short leaves nothing behind. */
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

class PreparedDriver implements Driver {
  readonly #sqlite: SqliteDatabase.Database;
  readonly #connection: PreparedConnection;

  constructor(sqlite: SqliteDatabase.Database, onStatement: () => void) {
    this.#sqlite = sqlite;
    this.#connection = new PreparedConnection(sqlite, onStatement);
  }

  async init(): Promise<void> {}

  /** There is one; Kysely lends it to one at a time. */
  async acquireConnection(): Promise<DatabaseConnection> {
    return this.#connection;
  }

  /** Kysely's own transactions are those of migrations. */
  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('begin'));
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('commit'));
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('rollback'));
  }

  async releaseConnection(): Promise<void> {}

  async destroy(): Promise<void> {
    this.#sqlite.close();
  }
}

type Statement = SqliteDatabase.Statement<unknown[]>;

const preparedMax = 500;

class PreparedConnection implements StatementConnection {
  readonly #sqlite: SqliteDatabase.Database;
  readonly #onStatement: () => void;
  readonly #lists: SqliteLists;
  readonly #statements = new Map<string, Statement>();

  constructor(sqlite: SqliteDatabase.Database, onStatement: () => void) {
    this.#sqlite = sqlite;
    this.#onStatement = onStatement;
    this.#lists = new SqliteLists(sqlite);
  }

  async run<T>(statement: Sql<T>): Promise<QueryResult<T>> {
    const { texts, parameters } = statement.flat();
    return this.#execute<T>(sqliteEngine.statement(texts), parameters);
  }

  async executeQuery<T>({ sql, parameters }: CompiledQuery): Promise<QueryResult<T>> {
    return this.#execute<T>(sql, parameters);
  }

  /** Nothing is read row by row. */
  streamQuery(): never {
    assert(false, 'sqlite-stream');
  }

  #execute<T>(text: string, parameters: readonly unknown[]): QueryResult<T> {
    this.#onStatement();
    const statement = this.#prepared(text);
    return this.#lists.during(parameters, (bound) => {
      if (statement.reader) return { rows: statement.all(bound) as T[] };
      return { rows: [], numAffectedRows: BigInt(statement.run(bound).changes) };
    });
  }

  #prepared(text: string): Statement {
    const known = this.#statements.get(text);
    if (known !== undefined) return known;
    const statement = this.#sqlite.prepare<unknown[]>(text);
    if (this.#statements.size < preparedMax) this.#statements.set(text, statement);
    return statement;
  }
}
