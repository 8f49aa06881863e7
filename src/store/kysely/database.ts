import {
  type DatabaseConnection,
  type Dialect,
  DummyDriver,
  Kysely,
  type QueryExecutor,
  type QueryResult,
} from 'kysely';
import { assert, Failure } from '../../domain/errors.ts';
import type { Event } from '../../domain/event.ts';
import type { SqlEngine } from './engine.ts';
import { perObject } from './per-object.ts';
import type { Schema } from './schema.ts';
import { type Sql, type SqlConnection, sql } from './sql.ts';

/**
 * Transactions over one database, the same for both engines.
 *
 * A `change` takes the commit number first, and with it a lock that is held through the commit: changes happen one at a
 * time over all processes, commit numbers become visible in order, and the event that carries the number is written in
 * the same transaction. That is what makes cursors without gaps and generations that rise over all volumes.
 */
export class Database {
  readonly engine: SqlEngine;
  readonly kysely: Kysely<Schema>;
  /** Each statement for itself, on whatever connection is free. */
  readonly connection: Connection;
  readonly #begin: Sql;
  readonly #fatal: (error: unknown) => void;
  readonly #over: (connection: StatementConnection) => Connection;
  #statements = 0;
  /** A transaction found no space on the disk, and no change has found any since. */
  #isFull = false;
  /** Of the changes that this process has committed. */
  #highestCommit = 0;

  constructor(options: {
    readonly engine: SqlEngine;
    readonly kysely: Kysely<Schema>;
    /** Called when the store can no longer be trusted (I/O error, failed fsync, commits lost): the process must end. */
    readonly fatal: (error: unknown) => void;
  }) {
    this.engine = options.engine;
    this.kysely = options.kysely;
    this.#begin = sql.raw(options.engine.begin);
    this.connection = new Connection(this.kysely.getExecutor(), {
      run: (statement) => this.#lent((connection) => connection.run(statement)),
    });
    this.#fatal = options.fatal;
    this.#over = perObject((connection) => {
      const provider = {
        provideConnection: async <T>(consumer: (lent: DatabaseConnection) => Promise<T>) => consumer(connection),
      };
      return new Connection(this.kysely.getExecutor().withConnectionProvider(provider), connection);
    });
  }

  /** Statements run so far, for the tests that count them. */
  get statements(): number {
    return this.#statements;
  }

  countStatement(): void {
    this.#statements += 1;
  }

  async read<T>(work: (db: Connection) => Promise<T>): Promise<T> {
    try {
      return await work(this.connection);
    } catch (error) {
      throw this.#translate(error);
    }
  }

  /** A transaction that neither takes a commit number nor tells events (leases, tokens, the journal's appends). */
  async plain<T>(work: (db: Connection) => Promise<T>): Promise<T> {
    return this.#transaction(work);
  }

  /** Whether changes find space; where the last one did not, one that changes nothing is tried now. */
  async hasSpace(): Promise<boolean> {
    if (!this.#isFull) return true;
    // What it meets is kept.
    await this.change(async () => undefined).catch(() => undefined);
    return !this.#isFull;
  }

  async change<T>(work: (tx: Change) => Promise<T>): Promise<T> {
    let commit = 0;
    const answer = await this.#transaction(async (db) => {
      const tx = new Change(db, this.engine, await nextCommit(db, this.engine));
      this.#refuseBehind(tx.commit);
      const done = await work(tx);
      await tx.finish();
      commit = tx.commit;
      return done;
    });
    this.#highestCommit = Math.max(this.#highestCommit, commit);
    this.#isFull = false;
    return answer;
  }

  /** A standby that lacked commits took the database's place: what this process knows, and has issued, is not in it. */
  #refuseBehind(commit: number): void {
    if (commit > this.#highestCommit) return;
    const message = `The store fell behind: it issues commit ${commit}, and this process has seen ${this.#highestCommit}.`;
    this.#fatal(new Error(message));
    throw new Failure('store-unavailable', message);
  }

  async #transaction<T>(work: (db: Connection) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#connection((db) => this.#attempt(db, work));
      } catch (error) {
        if (attempt >= attemptsMax || !isTransient(error)) throw this.#translate(error);
      }
    }
  }

  /** Unlike Kysely's own, this one sends a statement the moment that it is executed, behind those sent before it. */
  #connection<T>(work: (db: Connection) => Promise<T>): Promise<T> {
    return this.#lent((connection) => work(this.#over(connection)));
  }

  #lent<T>(work: (connection: StatementConnection) => Promise<T>): Promise<T> {
    return this.kysely.getExecutor().provideConnection((connection) => work(connection as StatementConnection));
  }

  async #attempt<T>(db: Connection, work: (db: Connection) => Promise<T>): Promise<T> {
    await db.run(this.#begin);
    let answer: T;
    try {
      answer = await work(db);
    } catch (error) {
      await rollback(db);
      throw error;
    }
    // A COMMIT whose answer was lost is never repeated: callers find out by the ids that they assigned beforehand.
    try {
      await db.run(ends.commit);
    } catch (error) {
      await rollback(db);
      throw error;
    }
    return answer;
  }

  #translate(error: unknown): unknown {
    if (error instanceof Failure) return error;
    const code = codeOf(error);
    if (isFull(error)) {
      this.#isFull = true;
      return new Failure('store-unavailable', 'The disk of the store is full: nothing was changed.', { cause: error });
    }
    if (code.startsWith('SQLITE_IOERR') || code.startsWith('SQLITE_CORRUPT')) this.#fatal(error);
    if (isConnectionLoss(code, error)) {
      return new Failure('store-unavailable', 'The store does not answer; the outcome is unknown.', { cause: error });
    }
    return error;
  }
}

/** A connection as our drivers lend it. */
export interface StatementConnection extends DatabaseConnection, SqlConnection {}

/** What statements run on. Our own go as they are; those of Kysely's builder find its executor here. */
export class Connection extends Kysely<Schema> implements SqlConnection {
  readonly #own: SqlConnection;

  constructor(executor: QueryExecutor, own: SqlConnection) {
    super({ ...onlyExecutes, executor });
    this.#own = own;
  }

  run<T>(statement: Sql<T>): Promise<QueryResult<T>> {
    return this.#own.run(statement);
  }
}

/** One change in progress: its number, and the events that it will tell. */
export class Change {
  readonly db: Connection;
  readonly engine: SqlEngine;
  /** This commit's number: the generation of whatever it issues, and the cursor of its events. */
  readonly commit: number;
  /** The database's time at its beginning, ms since the epoch. */
  readonly now: number;
  readonly #events: Omit<Event, 'cursor' | 'at'>[] = [];
  #told: Promise<unknown> | null = null;

  constructor(db: Connection, engine: SqlEngine, { value, now }: { value: number; now: number }) {
    this.db = db;
    this.engine = engine;
    this.commit = value;
    this.now = now;
  }

  tell(event: Omit<Event, 'cursor' | 'at'>): void {
    assert(this.#told === null, 'store-event-told-late');
    this.#events.push(event);
  }

  /** Writes the events; none can be told after it. It may go together with the last statements. */
  finish(): Promise<unknown> {
    this.#told ??= this.#writeEvents();
    return this.#told;
  }

  #writeEvents(): Promise<unknown> {
    const items = JSON.stringify(this.#events.map((event) => [event.kind, event.id, event.name, event.state]));
    return sql`INSERT INTO events (commit_number, at, items) VALUES (${this.commit}, ${this.engine.now}, ${items})`.execute(
      this.db,
    );
  }
}

/**
 * Statements of one transaction that need not know each other's answers: they are sent in the order of the calls, and
 * PostgreSQL runs them in that order. Waits for all of them, also when one fails: the rest of a piece of work that was
 * still under way behind the ROLLBACK would be written outside of the transaction.
 */
export async function together<T extends readonly Promise<unknown>[]>(...work: T): Promise<Answers<T>>;
export async function together(...work: readonly Promise<unknown>[]): Promise<unknown[]> {
  try {
    return await Promise.all(work);
  } catch (error) {
    await Promise.allSettled(work);
    throw error;
  }
}

type Answers<T extends readonly Promise<unknown>[]> = { -readonly [Index in keyof T]: Awaited<T[Index]> };

/** Whatever is left of a transaction must not become part of the connection's next one. */
async function rollback(db: Connection): Promise<void> {
  await db.run(ends.rollback).catch(() => undefined);
}

const ends = { commit: sql.raw('COMMIT'), rollback: sql.raw('ROLLBACK') };

function unused(): never {
  throw new Error('a transaction has an executor and needs no dialect');
}
const dialect: Dialect = {
  createAdapter: unused,
  createDriver: unused,
  createIntrospector: unused,
  createQueryCompiler: unused,
};
const onlyExecutes = { config: { dialect }, dialect, driver: new DummyDriver() };

const attemptsMax = 5;

async function nextCommit(db: Connection, engine: SqlEngine): Promise<{ value: number; now: number }> {
  const { rows } = await sql<{ value: number; now: number }>`
    UPDATE sequences SET value = value + 1 WHERE name = 'commit' RETURNING value, ${engine.now} AS now`.execute(db);
  const row = rows[0];
  assert(row !== undefined, 'store-no-commit-sequence');
  return row;
}

function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null || !('code' in error)) return '';
  return String(error.code);
}

/** Deadlock, serialisation failure, a plan of before a migration: the database rolled back and asks for a repeat. */
function isTransient(error: unknown): boolean {
  return ['40001', '40P01', '0A000'].includes(codeOf(error));
}

/** SHMSIZE: the index of SQLite's log could not grow. It is in memory only; what is on the disk can be trusted. */
const fullCodes: ReadonlySet<string> = new Set(['SQLITE_FULL', 'SQLITE_IOERR_SHMSIZE', '53100']);

export function isFull(error: unknown): boolean {
  return fullCodes.has(codeOf(error)) || (error instanceof Error && error.cause !== undefined && isFull(error.cause));
}

/** Of the system: the server, its machine, the way to it or its name cannot be had. */
const connectionErrors: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ENOENT',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENETDOWN',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

function isConnectionLoss(code: string, error: unknown): boolean {
  // 53300: the server has no connection left.
  // 25P03: the server has ended a transaction in which nothing happened for too long.
  if (code.startsWith('08') || code.startsWith('57P') || code === '53300' || code === '25P03') return true;
  if (connectionErrors.has(code)) return true;
  return (
    error instanceof Error &&
    /Connection terminated|connection error and is not queryable|Query read timeout|timeout exceeded when trying to connect/.test(
      error.message,
    )
  );
}
