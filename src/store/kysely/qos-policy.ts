/** QoS policies. One that a volume or a flow policy names stays: the name would otherwise point nowhere. */

import { limits } from '../../config/limits.ts';
import { assert, Failure } from '../../domain/errors.ts';
import { newId } from '../../domain/ids.ts';
import type { QosLimits, QosPolicy } from '../../domain/qos-policy.ts';
import type { Created, NewQosPolicy, Page, PageRequest } from '../store.ts';
import type { Change, Connection, Database } from './database.ts';
import { keyBefore, pageOf } from './page.ts';
import { qosPolicyResource } from './rows.ts';
import { sql } from './sql.ts';

export async function qosPolicyCreate(database: Database, policy: NewQosPolicy): Promise<Created<QosPolicy>> {
  const known = await database.read((db) => existing(db, policy));
  if (known !== null) return known;
  return database.change(async (tx) => (await existing(tx.db, policy)) ?? insert(tx, policy));
}

export function qosPolicyGet(database: Database, name: string): Promise<QosPolicy | null> {
  return database.read((db) => find(db, name));
}

export function qosPolicyList(database: Database, page: PageRequest): Promise<Page<QosPolicy>> {
  return database.read(async (db) => {
    const query = db.selectFrom('qos_policies').selectAll().where('name', '>', keyBefore(page));
    const found = await query
      .orderBy('name')
      .limit(page.pageSize + 1)
      .execute();
    return pageOf(found, page, { key: ({ name }) => name, show: qosPolicyResource });
  });
}

export function qosPolicyUpdate(
  database: Database,
  name: string,
  policy: QosLimits,
  ifVersion: number,
): Promise<QosPolicy> {
  return database.change(async (tx) => {
    const before = await required(tx.db, name, ifVersion);
    const { numUpdatedRows } = await tx.db
      .updateTable('qos_policies')
      .set({ limits: textOf(policy), version: ifVersion + 1 })
      .where('name', '=', name)
      .where('version', '=', ifVersion)
      .executeTakeFirst();
    assert(numUpdatedRows === 1n, 'qos-policy-update-lost');
    tx.tell({ kind: 'qos-policy', id: before.id, name, state: 'changed' });
    return required(tx.db, name, ifVersion + 1);
  });
}

export function qosPolicyDelete(database: Database, name: string, ifVersion: number | null): Promise<void> {
  return database.change(async (tx) => {
    const { id } = await required(tx.db, name, ifVersion);
    await refuseInUse(tx, name);
    await tx.db.deleteFrom('qos_policies').where('name', '=', name).execute();
    tx.tell({ kind: 'qos-policy', id, name, state: 'removed' });
  });
}

async function find(db: Connection, name: string): Promise<QosPolicy | null> {
  const record = await db.selectFrom('qos_policies').selectAll().where('name', '=', name).executeTakeFirst();
  return record === undefined ? null : qosPolicyResource(record);
}

async function required(db: Connection, name: string, ifVersion: number | null): Promise<QosPolicy> {
  const policy = await find(db, name);
  if (policy === null) throw new Failure('qos-policy-not-found', `There is no QoS policy "${name}".`);
  if (ifVersion === null || policy.version === ifVersion) return policy;
  throw new Failure('etag-mismatch', `QoS policy "${name}" has changed since it was read.`);
}

async function existing(db: Connection, policy: NewQosPolicy): Promise<Created<QosPolicy> | null> {
  const known = await find(db, policy.name);
  if (known === null) return null;
  const field = fields.find((name) => known[name] !== policy[name]);
  if (field === undefined) return { resource: known, existing: true };
  throw new Failure('name-taken', `A QoS policy "${policy.name}" exists already, with another ${field}.`, {
    field,
    related: { qosPolicy: known.id },
  });
}

async function insert(tx: Change, policy: NewQosPolicy): Promise<Created<QosPolicy>> {
  await refuseTooMany(tx);
  const { name } = policy;
  const id = newId('qos');
  await sql`
    INSERT INTO qos_policies (name, id, limits, version, created_at)
    VALUES (${name}, ${id}, ${textOf(policy)}, 1, ${tx.engine.now})`.execute(tx.db);
  tx.tell({ kind: 'qos-policy', id, name, state: 'created' });
  return { resource: await required(tx.db, name, 1), existing: false };
}

async function refuseTooMany(tx: Change): Promise<void> {
  const { rows } = await sql<{ policies: number }>`SELECT count(*) AS policies FROM qos_policies`.execute(tx.db);
  const policies = rows[0]?.policies ?? 0;
  if (policies < limits.qosPolicies) return;
  throw new Failure('limit-reached', `There are ${policies} QoS policies; that is the limit.`);
}

async function refuseInUse(tx: Change, name: string): Promise<void> {
  const { rows } = await sql<{ kind: string; id: string }>`
    SELECT * FROM (SELECT 'volume' AS kind, id FROM volumes WHERE qos_policy = ${name} LIMIT 1) AS v
    UNION ALL
    SELECT * FROM (SELECT 'flowPolicy' AS kind, id FROM flow_policies WHERE qos_policy = ${name} LIMIT 1) AS f`.execute(
    tx.db,
  );
  if (rows.length === 0) return;
  throw new Failure('resource-in-use', `QoS policy "${name}" is still named by a volume or a flow policy.`, {
    related: Object.fromEntries(rows.map(({ kind, id }) => [kind, id])),
  });
}

const fields = [
  'maxIopsPerContainer',
  'maxBandwidthPerContainer',
  'maxTotalIops',
  'maxTotalBandwidth',
  'minIopsPerContainer',
  'weight',
  'allowBursting',
  'burstIops',
  'burstDurationSeconds',
  'sharing',
] as const satisfies readonly (keyof QosLimits)[];

/** The limits alone, in one order: whatever else a caller's object carries is not stored. */
function textOf(policy: QosLimits): string {
  return JSON.stringify(Object.fromEntries(fields.map((field) => [field, policy[field]])));
}
