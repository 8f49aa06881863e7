import type { AttachmentRow, Changed, FlowPolicyRow, GroupPlan, VolumeRow } from '../group.ts';
import { writeBatches } from './batch-rows.ts';
import { type Change, together } from './database.ts';
import type { Columns } from './engine.ts';
import { poolCountsApply } from './pool-counts.ts';
import { assertAffected, type ChangedRecord, insertRows, removeRows, updateRows, type Versioned } from './row-sets.ts';
import {
  attachmentColumns,
  attachmentRecord,
  flowPolicyColumns,
  flowPolicyRecord,
  volumeColumns,
  volumeRecord,
} from './rows.ts';
import type { BatchTable, OperationTable } from './schema.ts';
import { sql } from './sql.ts';

/** Operations of one batch lie at `seq * positionsPerBatch + index`. */
export const positionsPerBatch = 1_000;

export interface WrittenAlong {
  /** Those that end with the plan. */
  readonly operations: readonly OperationTable[];
  /** Batches that come into the journal with this commit, planned or not. */
  readonly fresh: readonly BatchTable[];
  readonly hasWaits: boolean;
}

/**
 * Writes a group's plan: a fixed number of statements, each over all rows of its kind. Rows that give a unique value
 * back are written before those that take one. Every changed row must still have the version that was planned on.
 */
export async function writePlan(
  tx: Change,
  plan: GroupPlan,
  { operations, fresh, hasWaits }: WrittenAlong,
): Promise<void> {
  for (const event of plan.events) tx.tell(event);
  await together(
    writeVolumes(tx, plan.volumes),
    writeAttachments(tx, plan.attachments),
    writeFlowPolicies(tx, plan.flowPolicies),
    writeLuns(tx, plan),
    poolCountsApply(tx.db, tx.engine, plan.poolDeltas),
    insertRows(tx, 'operations', operationColumns, operations),
    writeBatches(tx, plan.batches, fresh),
    writeWaits(tx, plan, hasWaits),
    wake(tx, plan.woken),
    tx.finish(),
  );
}

async function writeVolumes(tx: Change, changes: readonly Changed<VolumeRow>[]): Promise<void> {
  if (changes.length === 0) return;
  const kinds = split(changes, volumeDifferences, volumeRecord);
  const unnamed = kinds.changed.filter(({ record }) => record.name === null);
  const named = kinds.changed.filter(({ record }) => record.name !== null);
  await together(
    removeRows(tx, 'volumes', kinds.removed),
    updateRows(tx, 'volumes', volumeColumns, unnamed),
    updateRows(tx, 'volumes', volumeColumns, named),
    insertRows(tx, 'volumes', volumeColumns, kinds.added),
  );
}

/** A record of an attachment, with the commit that wrote it last. */
const stampedColumns: Columns = { ...attachmentColumns, changed_at_commit: 'bigint' };

async function writeAttachments(tx: Change, changes: readonly Changed<AttachmentRow>[]): Promise<void> {
  if (changes.length === 0) return;
  const stamp = { changed_at_commit: tx.commit };
  const kinds = split(changes, attachmentDifferences, (row) => ({ ...attachmentRecord(row), ...stamp }));
  const changed = kinds.changed.map(({ record, columns }) => ({ record, columns: [...columns, 'changed_at_commit'] }));
  await together(
    removeRows(tx, 'attachments', kinds.removed),
    updateRows(tx, 'attachments', stampedColumns, changed),
    insertRows(tx, 'attachments', stampedColumns, kinds.added),
  );
}

/** A policy's version is its ETag, which people hold: that a batch decides about the policy does not change it. */
const policyMarks: ReadonlySet<string> = new Set(['held_by', 'pending_operation', 'state']);

async function writeFlowPolicies(tx: Change, changes: readonly Changed<FlowPolicyRow>[]): Promise<void> {
  if (changes.length === 0) return;
  const kinds = split(changes, flowPolicyDifferences, flowPolicyRecord);
  await together(
    removeRows(tx, 'flow_policies', kinds.removed),
    updateRows(tx, 'flow_policies', flowPolicyColumns, kinds.changed, policyMarks),
    insertRows(tx, 'flow_policies', flowPolicyColumns, kinds.added),
  );
}

interface Kinds<T> {
  readonly removed: readonly Versioned[];
  readonly changed: readonly ChangedRecord<T>[];
  readonly added: readonly T[];
}

function split<R extends Versioned, T extends Versioned>(
  changes: readonly Changed<R>[],
  differences: Differences,
  toRecord: (row: R) => T,
): Kinds<T> {
  const removed: Versioned[] = [];
  const changed: ChangedRecord<T>[] = [];
  const added: T[] = [];
  for (const { before, after } of changes) {
    if (after === null) {
      if (before !== null) removed.push({ id: before.id, version: before.version });
    } else if (before === null) added.push({ ...toRecord(after), version: 1 });
    else changed.push({ record: { ...toRecord(after), version: before.version }, columns: differences(before, after) });
  }
  return { removed, changed, added };
}

type Differences = (before: object, after: object) => string[];

/** The columns in which two rows differ, told by the rows: a column's field is its name in the other spelling. */
function differencesIn(columns: Columns): Differences {
  const fields = Object.keys(columns)
    .filter((column) => column !== 'version')
    .map((column) => ({ column, field: column.replace(/_[a-z]/g, (text) => text.slice(1).toUpperCase()) }));
  return (before, after) =>
    fields.filter(({ field }) => Reflect.get(before, field) !== Reflect.get(after, field)).map(({ column }) => column);
}

const volumeDifferences = differencesIn(volumeColumns);
const attachmentDifferences = differencesIn(attachmentColumns);
const flowPolicyDifferences = differencesIn(flowPolicyColumns);

const lunColumns: Columns = { initiator_wwpn: 'text', target_wwpn: 'text', lun: 'bigint', attachment: 'text' };

async function writeLuns(tx: Change, { luns }: GroupPlan): Promise<void> {
  if (luns.length === 0) return;
  // One number can be freed and taken again in one group: the last word counts.
  const last = new Map(luns.map((change) => [`${change.initiatorWwpn}|${change.targetWwpn}|${change.lun}`, change]));
  const rows = [...last.values()].map(({ initiatorWwpn, targetWwpn, lun, attachment }) => ({
    initiator_wwpn: initiatorWwpn,
    target_wwpn: targetWwpn,
    lun,
    attachment,
  }));
  const list = tx.engine.rows(rows, lunColumns);
  const answer = await sql`
    INSERT INTO luns (initiator_wwpn, target_wwpn, lun, attachment)
    SELECT c.initiator_wwpn, c.target_wwpn, c.lun, c.attachment FROM ${list} c WHERE true
    ON CONFLICT (initiator_wwpn, target_wwpn, lun) DO UPDATE SET attachment = excluded.attachment
      WHERE luns.attachment IS NULL OR excluded.attachment IS NULL`.execute(tx.db);
  assertAffected(answer, rows, 'write-luns');
}

/** The rows of the operations that end with the plan. */
export function operationRecords({ outcomes }: GroupPlan, now: number): readonly OperationTable[] {
  return outcomes.map(({ batch, index, outcome }) => ({
    position: batch.seq * positionsPerBatch + index,
    batch: batch.id,
    type: batch.operations[index]?.type ?? 'volume.create',
    state: outcome.state,
    resource: outcome.state === 'succeeded' && outcome.resource !== null ? JSON.stringify(outcome.resource) : null,
    existing: outcome.state === 'succeeded' && outcome.existing ? 1 : 0,
    problem: outcome.state === 'failed' ? JSON.stringify(outcome.problem) : null,
    principal: batch.principal,
    accepted_at: batch.acceptedAt,
    ended_at: now,
  }));
}

const operationColumns: Columns = {
  position: 'bigint',
  batch: 'text',
  type: 'text',
  state: 'text',
  resource: 'text',
  existing: 'bigint',
  problem: 'text',
  principal: 'text',
  accepted_at: 'bigint',
  ended_at: 'bigint',
};

async function wake(tx: Change, batches: readonly string[]): Promise<void> {
  if (batches.length === 0) return;
  await sql`UPDATE batches SET ready = 1 WHERE id IN ${tx.engine.texts(batches)} AND state <> 'ended'`.execute(tx.db);
}

async function writeWaits(tx: Change, plan: GroupPlan, hasWaits: boolean): Promise<void> {
  await together(addWaits(tx, plan), endWaits(tx, plan, hasWaits));
}

async function addWaits(tx: Change, plan: GroupPlan): Promise<void> {
  if (plan.blocks.length === 0) return;
  const blocks = tx.engine.rows(
    plan.blocks.map(({ blocker, batchSeq }) => ({ blocker, batch_seq: batchSeq })),
    { blocker: 'text', batch_seq: 'bigint' },
  );
  const waits = tx.engine.rows(
    plan.waits.map(({ key, operation, batchSeq }) => ({ operation, key, batch_seq: batchSeq })),
    { operation: 'text', key: 'text', batch_seq: 'bigint' },
  );
  await together(
    sql`INSERT INTO blocks (blocker, batch_seq) SELECT blocker, batch_seq FROM ${blocks} c WHERE true ON CONFLICT DO NOTHING`.execute(
      tx.db,
    ),
    sql`INSERT INTO waits (operation, key, batch_seq) SELECT operation, key, batch_seq FROM ${waits} c WHERE true ON CONFLICT DO NOTHING`.execute(
      tx.db,
    ),
  );
}

async function endWaits(tx: Change, plan: GroupPlan, hasWaits: boolean): Promise<void> {
  if (plan.unblocked.length === 0 || (!hasWaits && plan.blocks.length === 0)) return;
  const ended = tx.engine.texts(plan.unblocked);
  await together(
    sql`UPDATE batches SET ready = 1 WHERE state <> 'ended' AND seq IN (SELECT batch_seq FROM blocks WHERE blocker IN ${ended})`.execute(
      tx.db,
    ),
    sql`DELETE FROM blocks WHERE blocker IN ${ended}`.execute(tx.db),
    sql`DELETE FROM waits WHERE operation IN ${ended}`.execute(tx.db),
  );
}
