import { assert, problem } from '../../domain/errors.ts';
import type { AcceptAnswer, NewBatch } from '../store.ts';
import { insertBatches } from './batch-rows.ts';
import { type Connection, together } from './database.ts';
import type { Columns, SqlEngine } from './engine.ts';
import { insertRows } from './row-sets.ts';
import type { BatchTable, Schema } from './schema.ts';
import { sql } from './sql.ts';

/** Appends batches to the journal, within a transaction of its caller's. */
export class JournalAppender {
  readonly #engine: SqlEngine;
  readonly #backlogOperationsMax: number;

  constructor(engine: SqlEngine, backlogOperationsMax: number) {
    this.#engine = engine;
    this.#backlogOperationsMax = backlogOperationsMax;
  }

  async accept(db: Connection, batches: readonly NewBatch[]): Promise<readonly AcceptAnswer[]> {
    const acceptance = await this.decide(db, batches);
    await together(insertBatches({ db, engine: this.#engine }, acceptance.records), this.rememberKeys(db, acceptance));
    return acceptance.answers;
  }

  /**
   * What is accepted has its place in the journal; its records, and its keys, are the caller's to write. `at`: when the
   * change that carries it on began, as an operation may not end before it is accepted.
   */
  async decide(db: Connection, batches: readonly NewBatch[], at: number | null = null): Promise<Acceptance> {
    // The first one takes the lock, so the others see what earlier holders of it have written.
    const [{ first, now }, backlog, known] = await together(
      this.#nextSequence(db, batches.length),
      this.#backlogOperations(db),
      this.#knownKeys(db, batches),
    );
    const { accepted, answers } = decideAcceptance(batches, known, this.#backlogOperationsMax - backlog);
    return {
      answers,
      accepted,
      records: accepted.map((batch, index) => acceptedRecord(batch, first + index, at ?? now)),
    };
  }

  async rememberKeys(db: Connection, { accepted, records }: Acceptance): Promise<void> {
    const keys = accepted.flatMap(({ id, principal, idempotency }, index) => {
      if (idempotency === null) return [];
      const { route, key, bodyHash } = idempotency;
      const createdAt = records[index]?.accepted_at ?? 0;
      return [{ principal: principal.id, route, key, body_hash: bodyHash, batch: id, created_at: createdAt }];
    });
    await insertRows({ db, engine: this.#engine }, 'idempotency', keyColumns, keys);
  }

  async #nextSequence(db: Connection, count: number): Promise<{ readonly first: number; readonly now: number }> {
    const { rows } = await sql<{ value: number; now: number }>`
      UPDATE sequences SET value = value + ${count} WHERE name = 'journal' RETURNING value, ${this.#engine.now} AS now`.execute(
      db,
    );
    const [row] = rows;
    assert(row !== undefined, 'store-no-journal-sequence');
    return { first: row.value - count + 1, now: row.now };
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
    const list = this.#engine.rows(keys, askedColumns);
    const { rows } = await sql<Schema['idempotency']>`
      SELECT i.* FROM ${list} k JOIN idempotency i
        ON i.principal = k.principal AND i.route = k.route AND i.key = k.key`.execute(db);
    return new Map(
      rows.map((row) => [keyText(row.principal, row.route, row.key), { bodyHash: row.body_hash, batch: row.batch }]),
    );
  }
}

/** Decided, and not written yet. */
export interface Acceptance {
  readonly answers: readonly AcceptAnswer[];
  readonly accepted: readonly NewBatch[];
  /** The rows of `accepted`, in its order. */
  readonly records: readonly BatchTable[];
}

function acceptedRecord(batch: NewBatch, seq: number, now: number): BatchTable {
  return {
    seq,
    id: batch.id,
    state: 'accepted',
    atomicity: batch.atomicity,
    decision: null,
    failure: null,
    operations: JSON.stringify(batch.operations),
    operation_count: batch.operations.length,
    principal: batch.principal.id,
    ready: 1,
    lease_until: 0,
    accepted_at: now,
    ended_at: null,
    parked: null,
  };
}

const askedColumns: Columns = { principal: 'text', route: 'text', key: 'text' };

const keyColumns: Columns = {
  principal: 'text',
  route: 'text',
  key: 'text',
  body_hash: 'text',
  batch: 'text',
  created_at: 'bigint',
};

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
