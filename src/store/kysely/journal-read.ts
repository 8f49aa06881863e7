import { limits } from '../../config/limits.ts';
import { type Batch, batchOf, type Operation, type OperationSpec, operationId } from '../../domain/operation.ts';
import type { Backlog, OperationFilter, Page, PageRequest } from '../store.ts';
import { seqColumns } from './batch-rows.ts';
import type { Connection, Database } from './database.ts';
import type { SqlEngine } from './engine.ts';
import { positionsPerBatch } from './group-write.ts';
import { positionBefore } from './page.ts';
import type { BatchTable, OperationTable } from './schema.ts';
import { sql } from './sql.ts';

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

  /** Newest first, by position: operations that have ended have rows, the others are in their batches. */
  async operationList(filter: OperationFilter, page: PageRequest): Promise<Page<Operation>> {
    const before = page.pageToken === null ? Number.MAX_SAFE_INTEGER : positionBefore(page.pageToken);
    const wanted = { filter, before, atMost: page.pageSize + 1 };
    const found = await this.#database.read(async (db) => {
      // In this order: what ends in between is found twice, not missed.
      const open = await openOperations(db, this.#database.engine, wanted);
      const ended = await endedOperations(db, wanted);
      return new Map([...open, ...ended]);
    });
    const positions = [...found.keys()].sort((a, b) => b - a);
    const shown = positions.slice(0, page.pageSize);
    return {
      items: shown.flatMap((position) => found.get(position) ?? []),
      nextPageToken: positions.length > page.pageSize ? String(shown.at(-1)) : null,
    };
  }

  async backlog(): Promise<Backlog> {
    const parked = await this.#database.read((db) =>
      sql<{ id: string; reason: string }>`
        SELECT id, parked AS reason FROM batches WHERE parked IS NOT NULL ORDER BY seq
        ${sql.limit(limits.parkedBatchesTold)}`.execute(db),
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
      const operations = await operationsOf(db, engine, rows);
      return rows.map((row) =>
        batchResource(
          row,
          operations.filter(({ batch }) => batch === row.id),
        ),
      );
    });
  }
}

interface Wanted {
  readonly filter: OperationFilter;
  /** Only positions below it. */
  readonly before: number;
  readonly atMost: number;
}

type Positioned = readonly [position: number, operation: Operation];

async function endedOperations(db: Connection, { filter, before, atMost }: Wanted): Promise<Positioned[]> {
  let query = db.selectFrom('operations').selectAll().where('position', '<', before);
  if (filter.state !== undefined) query = query.where('state', '=', filter.state);
  if (filter.type !== undefined) query = query.where('type', '=', filter.type);
  const rows = await query.orderBy('position', 'desc').limit(atMost).execute();
  return rows.map((row) => [row.position, operationOf(row)]);
}

/** Batches whose operations are looked through at once; those of one type can be few among many. */
const openBatchesAtOnce = 64;

async function openOperations(db: Connection, engine: SqlEngine, wanted: Wanted): Promise<Positioned[]> {
  const found: Positioned[] = [];
  const { filter, before, atMost } = wanted;
  if (filter.state === 'succeeded' || filter.state === 'failed') return found;
  for (let seq = Math.ceil(before / positionsPerBatch); found.length < atMost; ) {
    const { rows } = await sql<BatchTable>`
      SELECT * FROM batches WHERE state <> 'ended' AND seq < ${seq} ORDER BY seq DESC ${sql.limit(openBatchesAtOnce)}`.execute(
      db,
    );
    found.push(...(await openOperationsOf(db, engine, rows)).filter((one) => matches(one, wanted)));
    const last = rows[openBatchesAtOnce - 1];
    if (last === undefined) break;
    seq = last.seq;
  }
  return found.slice(0, atMost);
}

/** Newest first. */
async function openOperationsOf(
  db: Connection,
  engine: SqlEngine,
  batches: readonly BatchTable[],
): Promise<Positioned[]> {
  const begun = batches.filter(({ state }) => state === 'running');
  const ended = begun.length === 0 ? [] : await operationsOf(db, engine, begun);
  const byBatch = Map.groupBy(ended, ({ batch }) => batch);
  return batches.flatMap((batch) =>
    batchResource(batch, byBatch.get(batch.id) ?? [])
      .operations.map((operation, index): Positioned => [batch.seq * positionsPerBatch + index, operation])
      .filter(([, { endedAt }]) => endedAt === null)
      .reverse(),
  );
}

function matches([position, { state, type }]: Positioned, { filter, before }: Wanted): boolean {
  return position < before && (filter.state ?? state) === state && (filter.type ?? type) === type;
}

/** The operations of the batches that have ended. */
async function operationsOf(
  db: Connection,
  engine: SqlEngine,
  batches: readonly BatchTable[],
): Promise<OperationTable[]> {
  const seqs = batches.map(({ seq }) => ({ seq }));
  const { rows } = await sql<OperationTable>`
    SELECT o.* FROM ${engine.rows(seqs, seqColumns)} b JOIN operations o
      ON o.position >= b.seq * ${sql.lit(positionsPerBatch)} AND o.position < (b.seq + 1) * ${sql.lit(positionsPerBatch)}`.execute(
    db,
  );
  return rows;
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

/** `operationOf` as JSON text, which holds the texts that the row keeps as they are. */
export function operationText(row: OperationTable): string {
  const { resource, problem, ...rest } = operationOf({ ...row, resource: null, problem: null });
  return `${JSON.stringify(rest).slice(0, -1)},"resource":${row.resource ?? 'null'},"problem":${row.problem ?? 'null'}}`;
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
