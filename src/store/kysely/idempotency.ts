import { assert, Failure } from '../../domain/errors.ts';
import type { IdempotencyBegun, IdempotencyStore, IdempotentRequest, RememberedAnswer } from '../store.ts';
import type { Database } from './database.ts';
import { sql } from './sql.ts';

/** Keys of requests whose effect is not an operation; those of operations stand beside the journal. */
export class KyselyIdempotencyStore implements IdempotencyStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async idempotencyBegin({ principal, route, key, bodyHash }: IdempotentRequest): Promise<IdempotencyBegun> {
    return this.#database.plain(async (db) => {
      const taken = await sql`
        INSERT INTO remembered_answers (principal, route, key, body_hash, created_at)
        VALUES (${principal}, ${route}, ${key}, ${bodyHash}, ${this.#database.engine.now})
        ON CONFLICT (principal, route, key) DO NOTHING RETURNING key`.execute(db);
      if (taken.rows.length > 0) return { first: true, answer: null };
      const found = await db
        .selectFrom('remembered_answers')
        .select(['body_hash', 'status', 'body'])
        .where('principal', '=', principal)
        .where('route', '=', route)
        .where('key', '=', key)
        .executeTakeFirst();
      assert(found !== undefined, 'idempotency-key-lost');
      if (found.body_hash !== bodyHash) throw reused();
      const { status, body } = found;
      return { first: false, answer: status === null || body === null ? null : { status, body } };
    });
  }

  async idempotencyEnd(
    { principal, route, key }: IdempotentRequest,
    { status, body }: RememberedAnswer,
  ): Promise<void> {
    await this.#database.plain((db) =>
      sql`UPDATE remembered_answers SET status = ${status}, body = ${body}
        WHERE principal = ${principal} AND route = ${route} AND key = ${key} AND status IS NULL`.execute(db),
    );
  }
}

function reused(): Failure {
  const detail = 'This Idempotency-Key was used with another body; use a new key for a new request.';
  return new Failure('idempotency-key-reused', detail, { field: 'Idempotency-Key' });
}
