import type { QueryResult } from 'kysely';
import { assert } from '../../domain/errors.ts';
import type { AttachmentRow, BatchChange, Changed, FlowPolicyRow, GroupPlan, PoolCount, VolumeRow } from '../group.ts';
import { type Change, together } from './database.ts';
import type { ColumnType } from './engine.ts';
import {
  attachmentColumns,
  attachmentRecord,
  flowPolicyColumns,
  flowPolicyRecord,
  volumeColumns,
  volumeRecord,
} from './rows.ts';
import type { OperationTable } from './schema.ts';
import { type Sql, sql } from './sql.ts';

/** Operations of one batch lie at `seq * positionsPerBatch + index`. */
export const positionsPerBatch = 1_000;

/**
 * Writes a group's plan: a fixed number of statements, each over all rows of its kind. Rows that give a unique value
 * back are written before those that take one. Every changed row must still have the version that was planned on.
 */
export async function writePlan(
  tx: Change,
  plan: GroupPlan,
  { operations, hasWaits }: { readonly operations: readonly OperationTable[]; readonly hasWaits: boolean },
): Promise<void> {
  for (const event of plan.events) tx.tell(event);
  await together(
    writeVolumes(tx, plan.volumes),
    writeAttachments(tx, plan.attachments),
    writeFlowPolicies(tx, plan.flowPolicies),
    writeLuns(tx, plan),
    writePools(tx, plan),
    insert(tx, 'operations', operationColumns, operations),
    writeBatches(tx, plan.batches),
    writeWaits(tx, plan, hasWaits),
    wake(tx, plan.woken),
    tx.finish(),
  );
}

type Columns = Readonly<Record<string, ColumnType>>;

async function writeVolumes(tx: Change, changes: readonly Changed<VolumeRow>[]): Promise<void> {
  const kinds = split(changes, volumeColumns, volumeRecord);
  const unnamed = kinds.changed.filter(({ record }) => record.name === null);
  const named = kinds.changed.filter(({ record }) => record.name !== null);
  await together(
    remove(tx, 'volumes', kinds.removed),
    update(tx, 'volumes', volumeColumns, unnamed),
    update(tx, 'volumes', volumeColumns, named),
    insert(tx, 'volumes', volumeColumns, kinds.added),
  );
}

async function writeAttachments(tx: Change, changes: readonly Changed<AttachmentRow>[]): Promise<void> {
  const kinds = split(changes, attachmentColumns, attachmentRecord);
  const stamp = { changed_at_commit: sql`${tx.commit}` };
  await together(
    remove(tx, 'attachments', kinds.removed),
    update(tx, 'attachments', attachmentColumns, kinds.changed, { extra: stamp }),
    insert(tx, 'attachments', attachmentColumns, kinds.added, stamp),
  );
}

/** A policy's version is its ETag, which people hold: that a batch decides about the policy does not change it. */
const policyMarks: ReadonlySet<string> = new Set(['held_by', 'pending_operation', 'state']);

async function writeFlowPolicies(tx: Change, changes: readonly Changed<FlowPolicyRow>[]): Promise<void> {
  const kinds = split(changes, flowPolicyColumns, flowPolicyRecord);
  await together(
    remove(tx, 'flow_policies', kinds.removed),
    update(tx, 'flow_policies', flowPolicyColumns, kinds.changed, { unversioned: policyMarks }),
    insert(tx, 'flow_policies', flowPolicyColumns, kinds.added),
  );
}

interface Versioned {
  readonly id: string;
  readonly version: number;
}

interface ChangedRecord<T> {
  /** As it is to be, with the version that it still must have. */
  readonly record: T;
  /** The columns in which it differs. */
  readonly columns: readonly string[];
}

interface Kinds<T> {
  readonly removed: readonly Versioned[];
  readonly changed: readonly ChangedRecord<T>[];
  readonly added: readonly T[];
}

function split<R extends Versioned, T extends Versioned>(
  changes: readonly Changed<R>[],
  columns: Columns,
  toRecord: (row: R) => T,
): Kinds<T> {
  const compared = comparedColumns(columns);
  const removed: Versioned[] = [];
  const changed: ChangedRecord<T>[] = [];
  const added: T[] = [];
  for (const { before, after } of changes) {
    if (after === null) {
      if (before !== null) removed.push({ id: before.id, version: before.version });
    } else if (before === null) added.push({ ...toRecord(after), version: 1 });
    else changed.push({ record: { ...toRecord(after), version: before.version }, columns: compared(before, after) });
  }
  return { removed, changed, added };
}

/** The columns in which two rows differ, told by the rows: a column's field is its name in the other spelling. */
function comparedColumns(columns: Columns): (before: object, after: object) => string[] {
  const fields = Object.keys(columns)
    .filter((column) => column !== 'version')
    .map((column) => ({ column, field: column.replace(/_[a-z]/g, (text) => text.slice(1).toUpperCase()) }));
  return (before, after) =>
    fields.filter(({ field }) => Reflect.get(before, field) !== Reflect.get(after, field)).map(({ column }) => column);
}

async function remove(tx: Change, table: string, rows: readonly Versioned[]): Promise<void> {
  if (rows.length === 0) return;
  const list = tx.engine.rows(rows, { id: 'text', version: 'bigint' });
  const answer =
    await sql`DELETE FROM ${sql.id(table)} WHERE (id, version) IN (SELECT id, version FROM ${list} c)`.execute(tx.db);
  assertAffected(answer, rows, `write-removed-${table}`);
}

type Extra = Readonly<Record<string, Sql>>;

/**
 * One statement for each set of columns that changes, of which there are as many as kinds of operations: an index is
 * touched for every column that is named, changed or not.
 */
async function update<T extends Versioned>(
  tx: Change,
  table: string,
  columns: Columns,
  changed: readonly ChangedRecord<T>[],
  options: UpdateOptions = {},
): Promise<void> {
  const bySet = Map.groupBy(changed, (one) => one.columns.join());
  await together(...[...bySet.values()].map((rows) => updateColumns(tx, table, columns, rows, options)));
}

interface UpdateOptions {
  readonly extra?: Extra;
  /** Changes of nothing but these columns leave the version as it is. */
  readonly unversioned?: ReadonlySet<string>;
}

async function updateColumns<T extends Versioned>(
  tx: Change,
  table: string,
  columns: Columns,
  changed: readonly ChangedRecord<T>[],
  { extra = {}, unversioned = new Set() }: UpdateOptions,
): Promise<void> {
  const names = changed[0]?.columns ?? [];
  const types = Object.fromEntries(['id', ...names, 'version'].map((name) => [name, columns[name] ?? 'text'] as const));
  const list = tx.engine.rows(
    changed.map(({ record }) => record),
    types,
  );
  const sets = names.map((name) => sql`${sql.id(name)} = c.${sql.id(name)}`);
  const extras = Object.entries(extra).map(([name, value]) => sql`${sql.id(name)} = ${value}`);
  const version = names.every((name) => unversioned.has(name))
    ? sql`version = t.version`
    : sql`version = t.version + 1`;
  const answer = await sql`
    UPDATE ${sql.id(table)} AS t SET ${sql.join([...sets, ...extras, version])}
    FROM ${list} c WHERE t.id = c.id AND t.version = c.version`.execute(tx.db);
  assertAffected(answer, changed, `write-changed-${table}`);
}

/** Each of the rows was there as it was planned on. */
function assertAffected(answer: QueryResult<unknown>, rows: readonly unknown[], id: string): void {
  assert(answer.numAffectedRows === BigInt(rows.length), id);
}

async function insert(
  tx: Change,
  table: string,
  columns: Columns,
  rows: readonly object[],
  extra: Extra = {},
): Promise<void> {
  if (rows.length === 0) return;
  const names = Object.keys(columns);
  const targets = [...names, ...Object.keys(extra)].map((name) => sql.id(name));
  const values = [...names.map((name) => sql`c.${sql.id(name)}`), ...Object.values(extra)];
  await sql`INSERT INTO ${sql.id(table)} (${sql.join(targets)})
    SELECT ${sql.join(values)} FROM ${tx.engine.rows(rows, columns)} c`.execute(tx.db);
}

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
  const list = tx.engine.rows(rows, { initiator_wwpn: 'text', target_wwpn: 'text', lun: 'bigint', attachment: 'text' });
  const answer = await sql`
    INSERT INTO luns (initiator_wwpn, target_wwpn, lun, attachment)
    SELECT c.initiator_wwpn, c.target_wwpn, c.lun, c.attachment FROM ${list} c WHERE true
    ON CONFLICT (initiator_wwpn, target_wwpn, lun) DO UPDATE SET attachment = excluded.attachment
      WHERE luns.attachment IS NULL OR excluded.attachment IS NULL`.execute(tx.db);
  assertAffected(answer, rows, 'write-luns');
}

const poolCounts: readonly PoolCount[] = [
  'provisioning',
  'free',
  'allocated',
  'wiping',
  'failed',
  'retired',
  'hits',
  'misses',
];

async function writePools(tx: Change, { poolDeltas }: GroupPlan): Promise<void> {
  if (poolDeltas.length === 0) return;
  const rows = poolDeltas.map(({ pool, counts }) => ({
    pool,
    ...Object.fromEntries(poolCounts.map((count) => [count, counts[count] ?? 0] as const)),
  }));
  const types = Object.fromEntries(poolCounts.map((count) => [count, 'bigint'] as const));
  const sets = poolCounts.map((count) => sql`${sql.id(count)} = t.${sql.id(count)} + c.${sql.id(count)}`);
  await sql`UPDATE pools AS t SET ${sql.join(sets)} FROM ${tx.engine.rows(rows, { pool: 'text', ...types })} c WHERE t.name = c.pool`.execute(
    tx.db,
  );
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

async function writeBatches(tx: Change, batches: readonly BatchChange[]): Promise<void> {
  if (batches.length === 0) return;
  const rows = batches.map(({ batch, state, decision, failure, ready, leaseUntil, parked }) => ({
    seq: batch.seq,
    state,
    decision,
    failure: failure === null ? null : JSON.stringify(failure),
    ready: ready ? 1 : 0,
    lease_until: leaseUntil,
    ended_at: state === 'ended' ? tx.now : null,
    parked,
  }));
  const list = tx.engine.rows(rows, {
    seq: 'bigint',
    state: 'text',
    decision: 'text',
    failure: 'text',
    ready: 'bigint',
    lease_until: 'bigint',
    ended_at: 'bigint',
    parked: 'text',
  });
  const answer = await sql`
    UPDATE batches AS t SET state = c.state, decision = c.decision, failure = c.failure, ready = c.ready,
      lease_until = c.lease_until, ended_at = c.ended_at, parked = c.parked
    FROM ${list} c WHERE t.seq = c.seq AND t.state <> 'ended'`.execute(tx.db);
  assertAffected(answer, rows, 'write-batches');
}

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
