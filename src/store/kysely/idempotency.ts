import { limits } from '../../config/limits.ts';
import { assert, Failure } from '../../domain/errors.ts';
import type { HeldKey, IdempotencyBegun, IdempotencyStore, IdempotentRequest, RememberedAnswer } from '../store.ts';
import type { Connection, Database } from './database.ts';
import { type Sql, sql } from './sql.ts';

/**
 * Keys of requests whose effect is not an operation; those of operations stand beside the journal.
 *
 * Over all replicas one request at a time has a key without an answer. Its claim is the time at which it took the key:
 * the next one may take it a while after that, and makes the claim another one, so that no answer but its own is kept.
 */
export class KyselyIdempotencyStore implements IdempotencyStore {
  readonly #database: Database;
  readonly #claimMs: Sql;

  constructor(database: Database, claimMs: number = limits.idempotencyClaimMs) {
    this.#database = database;
    this.#claimMs = sql.lit(claimMs);
  }

  async idempotencyBegin(request: IdempotentRequest): Promise<IdempotencyBegun> {
    const { principal, route, key, bodyHash } = request;
    return this.#database.plain(async (db) => {
      const { rows } = await sql<{ claim: number }>`
        INSERT INTO remembered_answers (principal, route, key, body_hash, created_at)
        VALUES (${principal}, ${route}, ${key}, ${bodyHash}, ${this.#database.engine.now})
        ON CONFLICT (principal, route, key) DO NOTHING RETURNING created_at AS claim`.execute(db);
      return rows[0] === undefined ? await this.#beginAgain(db, request) : { answer: null, first: true, ...rows[0] };
    });
  }

  async idempotencyEnd(
    request: IdempotentRequest,
    claim: number,
    { status, body }: RememberedAnswer,
  ): Promise<boolean> {
    const { rows } = await this.#database.plain((db) =>
      sql`UPDATE remembered_answers SET status = ${status}, body = ${body}
        WHERE ${isClaimed(request, claim)} RETURNING status`.execute(db),
    );
    return rows.length > 0;
  }

  async idempotencyRelease(request: IdempotentRequest, claim: number): Promise<void> {
    await this.#database.plain((db) =>
      sql`UPDATE remembered_answers SET created_at = created_at - ${this.#claimMs}
        WHERE ${isClaimed(request, claim)}`.execute(db),
    );
  }

  async #beginAgain(db: Connection, request: IdempotentRequest): Promise<IdempotencyBegun> {
    const { rows } = await sql<Found>`
      SELECT body_hash, status, body, created_at FROM remembered_answers WHERE ${isKeyOf(request)}`.execute(db);
    const [found] = rows;
    assert(found !== undefined, 'idempotency-key-lost');
    if (found.body_hash !== request.bodyHash) throw reused();
    const { status, body } = found;
    if (status !== null && body !== null) return { answer: { status, body } };
    return { answer: null, first: false, claim: await this.#takeOver(db, request, found.created_at) };
  }

  async #takeOver(db: Connection, request: IdempotentRequest, former: number): Promise<number> {
    const { now } = this.#database.engine;
    const { rows } = await sql<{ claim: number }>`
      UPDATE remembered_answers SET created_at = ${now}
      WHERE ${isClaimed(request, former)}
        AND NOT (created_at BETWEEN ${now} - ${this.#claimMs} + 1 AND ${now})
      RETURNING created_at AS claim`.execute(db);
    if (rows[0] === undefined) throw inUse();
    return rows[0].claim;
  }
}

/** Makes sure that the key is the caller's until its transaction has ended; `idempotency-key-in-use`: it is another's. */
export async function keyKept(db: Connection, { request, claim }: Pick<HeldKey, 'request' | 'claim'>): Promise<void> {
  const { rows } = await sql`UPDATE remembered_answers SET created_at = created_at
    WHERE ${isClaimed(request, claim)} RETURNING created_at`.execute(db);
  if (rows.length === 0) throw inUse();
}

interface Found {
  readonly body_hash: string;
  readonly status: number | null;
  readonly body: string | null;
  readonly created_at: number;
}

function isKeyOf({ principal, route, key }: IdempotentRequest): Sql {
  return sql`principal = ${principal} AND route = ${route} AND key = ${key}`;
}

function isClaimed(request: IdempotentRequest, claim: number): Sql {
  return sql`${isKeyOf(request)} AND created_at = ${claim} AND status IS NULL`;
}

function reused(): Failure {
  const detail = 'This Idempotency-Key was used with another body; use a new key for a new request.';
  return new Failure('idempotency-key-reused', detail, { field: 'Idempotency-Key' });
}

function inUse(): Failure {
  const detail = 'A request with this Idempotency-Key is under way; repeat this one in a moment.';
  return new Failure('idempotency-key-in-use', detail, { field: 'Idempotency-Key' });
}
