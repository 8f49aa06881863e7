import { sql } from 'kysely';
import { limits } from '../../config/limits.ts';
import { type Batch, batchOf, type Operation, type OperationSpec, operationId } from '../../domain/operation.ts';
import type { Backlog, OperationFilter, Page, PageRequest } from '../store.ts';
import type { Database } from './database.ts';
import { positionsPerBatch } from './group-write.ts';
import { positionBefore } from './page.ts';
import type { BatchTable, OperationTable } from './schema.ts';

/** What the journal tells of batches and operations. */
export class JournalReader {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async batchGet(id: string): Promise<Batch | null> {
    const [batch] = await this.#batchesWhere([id], false);
    return batch ?? null;
  }

  batchListEnded(ids: readonly string[]): Promise<readonly Batch[]> {
    return ids.length === 0 ? Promise.resolve([]) : this.#batchesWhere(ids, true);
  }

  async operationGet(id: string): Promise<Operation | null> {
    const { batch, index } = batchOf(id);
    return (await this.batchGet(batch))?.operations[index] ?? null;
  }

  async operationList(filter: OperationFilter, page: PageRequest): Promise<Page<Operation>> {
    return this.#database.read(async (db) => {
      let query = db
        .selectFrom('operations')
        .selectAll()
        .orderBy('position', 'desc')
        .limit(page.pageSize + 1);
      if (filter.state !== undefined) query = query.where('state', '=', filter.state);
      if (filter.type !== undefined) query = query.where('type', '=', filter.type);
      if (page.pageToken !== null) query = query.where('position', '<', positionBefore(page.pageToken));
      const rows = await query.execute();
      const last = rows.length > page.pageSize ? rows[page.pageSize - 1] : undefined;
      return {
        items: rows.slice(0, page.pageSize).map(operationOf),
        nextPageToken: last === undefined ? null : String(last.position),
      };
    });
  }

  async backlog(): Promise<Backlog> {
    const parked = await this.#database.read((db) =>
      sql<{ id: string; reason: string }>`
        SELECT id, parked AS reason FROM batches WHERE parked IS NOT NULL ORDER BY seq
        LIMIT ${limits.parkedBatchesTold}`.execute(db),
    );
    const { rows } = await this.#database.read((db) =>
      sql<{ state: string; batches: number; operations: number; oldest: number }>`
        SELECT state, count(*) AS batches, sum(operation_count) AS operations, min(accepted_at) AS oldest
        FROM batches WHERE state <> 'ended' GROUP BY state`.execute(db),
    );
    const accepted = rows.find(({ state }) => state === 'accepted');
    return {
      acceptedBatches: accepted?.batches ?? 0,
      acceptedOperations: accepted?.operations ?? 0,
      runningBatches: rows.find(({ state }) => state === 'running')?.batches ?? 0,
      oldestAcceptedAt: accepted?.oldest ?? null,
      parkedBatches: parked.rows,
    };
  }

  async #batchesWhere(ids: readonly string[], endedOnly: boolean): Promise<Batch[]> {
    const { engine } = this.#database;
    return this.#database.read(async (db) => {
      const ended = endedOnly ? sql`AND state = 'ended'` : sql``;
      const { rows } = await sql<BatchTable>`SELECT * FROM batches WHERE id IN ${engine.texts(ids)} ${ended}`.execute(
        db,
      );
      const seqs = rows.map(({ seq }) => ({ seq }));
      const operations = await sql<OperationTable>`
        SELECT o.* FROM ${engine.rows(seqs, { seq: 'bigint' })} b JOIN operations o
          ON o.position >= b.seq * ${sql.lit(positionsPerBatch)} AND o.position < (b.seq + 1) * ${sql.lit(positionsPerBatch)}`.execute(
        db,
      );
      return rows.map((row) =>
        batchResource(
          row,
          operations.rows.filter(({ batch }) => batch === row.id),
        ),
      );
    });
  }
}

export function operationOf(row: OperationTable): Operation {
  return {
    id: operationId(row.batch, row.position % positionsPerBatch),
    batch: row.batch,
    type: row.type as Operation['type'],
    state: row.state as Operation['state'],
    resource: row.resource === null ? null : (JSON.parse(row.resource) as Operation['resource']),
    existing: row.existing === 1,
    problem: row.problem === null ? null : (JSON.parse(row.problem) as Operation['problem']),
    requestedBy: row.principal,
    acceptedAt: row.accepted_at,
    endedAt: row.ended_at,
  };
}

/** A batch in any state: operations without a row of their own are as far as the batch is. */
function batchResource(record: BatchTable, ended: readonly OperationTable[]): Batch {
  const specs = JSON.parse(record.operations) as OperationSpec[];
  const byIndex = new Map(ended.map((row) => [row.position % positionsPerBatch, row]));
  const operations = specs.map((spec, index): Operation => {
    const row = byIndex.get(index);
    if (row !== undefined) return operationOf(row);
    return {
      id: operationId(record.id, index),
      batch: record.id,
      type: spec.type,
      state: record.state === 'accepted' ? 'accepted' : 'running',
      resource: null,
      existing: false,
      problem: null,
      requestedBy: record.principal,
      acceptedAt: record.accepted_at,
      endedAt: null,
    };
  });
  return {
    id: record.id,
    state: record.state as Batch['state'],
    atomicity: record.atomicity as Batch['atomicity'],
    decision: record.decision as Batch['decision'],
    operations,
    requestedBy: record.principal,
    acceptedAt: record.accepted_at,
    endedAt: record.ended_at,
  };
}
