/** The journal's rows: a batch is inserted once, and changed until it has ended. */
import type { BatchChange } from '../group.ts';
import { type Change, together } from './database.ts';
import type { Columns } from './engine.ts';
import { assertAffected, insertRows, type Place } from './row-sets.ts';
import type { BatchTable } from './schema.ts';
import { sql } from './sql.ts';

const changedColumns = {
  state: 'text',
  decision: 'text',
  failure: 'text',
  ready: 'bigint',
  lease_until: 'bigint',
  ended_at: 'bigint',
  parked: 'text',
} as const;

export const seqColumns: Columns = { seq: 'bigint' };

const changeColumns: Columns = { seq: 'bigint', ...changedColumns };

const batchColumns: Readonly<Record<keyof BatchTable, Columns[string]>> = {
  seq: 'bigint',
  id: 'text',
  atomicity: 'text',
  operations: 'text',
  operation_count: 'bigint',
  principal: 'text',
  accepted_at: 'bigint',
  ...changedColumns,
};

type BatchChangeRecord = Pick<BatchTable, 'seq' | keyof typeof changedColumns>;

export async function insertBatches(place: Place, records: readonly BatchTable[]): Promise<void> {
  await insertRows(place, 'batches', batchColumns, records);
}

/** `fresh` are not in the journal yet: they come into it as the plan leaves them. */
export async function writeBatches(
  tx: Change,
  changes: readonly BatchChange[],
  fresh: readonly BatchTable[],
): Promise<void> {
  const records = new Map(changes.map((change) => [change.batch.seq, changeRecord(change, tx.now)]));
  const added = fresh.map((record) => ({ ...record, ...records.get(record.seq) }));
  for (const { seq } of fresh) records.delete(seq);
  await together(insertBatches(tx, added), updateBatches(tx, [...records.values()]));
}

async function updateBatches({ db, engine }: Place, records: readonly BatchChangeRecord[]): Promise<void> {
  if (records.length === 0) return;
  const answer = await sql`
    UPDATE batches AS t SET state = c.state, decision = c.decision, failure = c.failure, ready = c.ready,
      lease_until = c.lease_until, ended_at = c.ended_at, parked = c.parked
    FROM ${engine.rows(records, changeColumns)} c WHERE t.seq = c.seq AND t.state <> 'ended'`.execute(db);
  assertAffected(answer, records, 'write-batches');
}

function changeRecord(
  { batch, state, decision, failure, ready, leaseUntil, parked }: BatchChange,
  now: number,
): BatchChangeRecord {
  return {
    seq: batch.seq,
    state,
    decision,
    failure: failure === null ? null : JSON.stringify(failure),
    ready: ready ? 1 : 0,
    lease_until: leaseUntil,
    ended_at: state === 'ended' ? now : null,
    parked,
  };
}
