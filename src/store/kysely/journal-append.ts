import { problem } from '../../domain/errors.ts';
import type { AcceptAnswer, NewBatch } from '../store.ts';
import { type Connection, together } from './database.ts';
import type { SqlEngine } from './engine.ts';
import type { Schema } from './schema.ts';
import { type Sql, sql } from './sql.ts';

/** Appends batches to the journal, within a transaction of its caller's. */
export class JournalAppender {
  readonly #engine: SqlEngine;
  readonly #backlogOperationsMax: number;

  constructor(engine: SqlEngine, backlogOperationsMax: number) {
    this.#engine = engine;
    this.#backlogOperationsMax = backlogOperationsMax;
  }

  /** `at`: when the batches are said to be accepted; the time of the change that carries them on, if there is one. */
  async accept(
    db: Connection,
    batches: readonly NewBatch[],
    at: number | Sql = this.#engine.now,
  ): Promise<readonly AcceptAnswer[]> {
    // The first one takes the lock, so the others see what earlier holders of it have written.
    const [seq, backlog, known] = await together(
      this.#nextSequence(db, batches.length),
      this.#backlogOperations(db),
      this.#knownKeys(db, batches),
    );
    const decided = decideAcceptance(batches, known, this.#backlogOperationsMax - backlog);
    await this.#append(db, decided.accepted, { firstSeq: seq, at });
    return decided.answers;
  }

  async #nextSequence(db: Connection, count: number): Promise<number> {
    const { rows } = await sql<{ value: number }>`
      UPDATE sequences SET value = value + ${count} WHERE name = 'journal' RETURNING value`.execute(db);
    return Number(rows[0]?.value) - count + 1;
  }

  async #backlogOperations(db: Connection): Promise<number> {
    const { rows } = await sql<{ operations: number | null }>`
      SELECT sum(operation_count) AS operations FROM batches WHERE state <> 'ended'`.execute(db);
    return rows[0]?.operations ?? 0;
  }

  async #knownKeys(db: Connection, batches: readonly NewBatch[]): Promise<Map<string, KnownKey>> {
    const keys = batches.flatMap(({ principal, idempotency }) =>
      idempotency === null ? [] : [{ principal: principal.id, route: idempotency.route, key: idempotency.key }],
    );
    if (keys.length === 0) return new Map();
    const list = this.#engine.rows(keys, { principal: 'text', route: 'text', key: 'text' });
    const { rows } = await sql<Schema['idempotency']>`
      SELECT i.* FROM ${list} k JOIN idempotency i
        ON i.principal = k.principal AND i.route = k.route AND i.key = k.key`.execute(db);
    return new Map(
      rows.map((row) => [keyText(row.principal, row.route, row.key), { bodyHash: row.body_hash, batch: row.batch }]),
    );
  }

  async #append(db: Connection, batches: readonly NewBatch[], where: Appended): Promise<void> {
    if (batches.length === 0) return;
    await together(this.#insertBatches(db, batches, where), this.#insertKeys(db, batches, where));
  }

  async #insertBatches(db: Connection, batches: readonly NewBatch[], { firstSeq, at }: Appended): Promise<void> {
    const records = batches.map((batch, index) => ({
      seq: firstSeq + index,
      id: batch.id,
      atomicity: batch.atomicity,
      operations: JSON.stringify(batch.operations),
      operation_count: batch.operations.length,
      principal: batch.principal.id,
    }));
    const list = this.#engine.rows(records, {
      seq: 'bigint',
      id: 'text',
      atomicity: 'text',
      operations: 'text',
      operation_count: 'bigint',
      principal: 'text',
    });
    await sql`
      INSERT INTO batches (seq, id, state, atomicity, operations, operation_count, principal, ready, lease_until, accepted_at)
      SELECT seq, id, 'accepted', atomicity, operations, operation_count, principal, 1, 0, ${at} FROM ${list} c`.execute(
      db,
    );
  }

  async #insertKeys(db: Connection, batches: readonly NewBatch[], { at }: Appended): Promise<void> {
    const keys = batches.flatMap(({ id, principal, idempotency }) => {
      if (idempotency === null) return [];
      const { route, key, bodyHash } = idempotency;
      return [{ principal: principal.id, route, key, body_hash: bodyHash, batch: id }];
    });
    if (keys.length === 0) return;
    const list = this.#engine.rows(keys, {
      principal: 'text',
      route: 'text',
      key: 'text',
      body_hash: 'text',
      batch: 'text',
    });
    await sql`
      INSERT INTO idempotency (principal, route, key, body_hash, batch, created_at)
      SELECT principal, route, key, body_hash, batch, ${at} FROM ${list} c`.execute(db);
  }
}

interface Appended {
  readonly firstSeq: number;
  readonly at: number | Sql;
}

interface KnownKey {
  readonly bodyHash: string;
  readonly batch: string;
}

/** Deduplicates keys within the group in memory, so that no unique violation can fail a neighbour. */
function decideAcceptance(
  batches: readonly NewBatch[],
  known: Map<string, KnownKey>,
  room: number,
): { accepted: NewBatch[]; answers: AcceptAnswer[] } {
  const accepted: NewBatch[] = [];
  let left = room;
  const answers = batches.map((batch): AcceptAnswer => {
    const { idempotency } = batch;
    const key = idempotency === null ? null : keyText(batch.principal.id, idempotency.route, idempotency.key);
    const before = key === null ? undefined : known.get(key);
    if (before !== undefined && idempotency !== null) return replay(before, idempotency.bodyHash);
    if (batch.operations.length > left) {
      return {
        accepted: false,
        problem: problem('journal-full', 'Too many operations are waiting; try again in a moment.'),
      };
    }
    left -= batch.operations.length;
    if (key !== null && idempotency !== null) known.set(key, { bodyHash: idempotency.bodyHash, batch: batch.id });
    accepted.push(batch);
    return { accepted: true, batch: batch.id, replay: false };
  });
  return { accepted, answers };
}

function replay(before: KnownKey, bodyHash: string): AcceptAnswer {
  if (before.bodyHash === bodyHash) return { accepted: true, batch: before.batch, replay: true };
  const detail = 'This Idempotency-Key was used with another body; use a new key for a new request.';
  return { accepted: false, problem: problem('idempotency-key-reused', detail, { field: 'Idempotency-Key' }) };
}

function keyText(principal: string, route: string, key: string): string {
  return JSON.stringify([principal, route, key]);
}
