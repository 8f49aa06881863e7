/** Flow policies: read, changed in place (If-Match), and asked. They are created and removed by operations. */

import { Failure } from '../../domain/errors.ts';
import type { FlowPolicy } from '../../domain/flow-policy.ts';
import { type FlowDecision, type FlowDefault, type FlowQuestion, resolveFlow } from '../../domain/flow-resolution.ts';
import type { FlowPolicyRow } from '../group.ts';
import type { FlowPolicyChange, FlowPolicyFilter, Page, PageRequest } from '../store.ts';
import { flowPolicyView } from '../views.ts';
import type { Change, Connection, Database } from './database.ts';
import { keyBefore, pageOf } from './page.ts';
import { flowPolicyRow } from './rows.ts';
import type { FlowPolicyTable } from './schema.ts';
import { sql } from './sql.ts';

export function flowPolicyGet(database: Database, id: string): Promise<FlowPolicy | null> {
  return database.read(async (db) => {
    const row = await find(db, id);
    return row === null ? null : flowPolicyView(row);
  });
}

export function flowPolicyList(
  database: Database,
  filter: FlowPolicyFilter,
  page: PageRequest,
): Promise<Page<FlowPolicy>> {
  return database.read(async (db) => {
    let query = db.selectFrom('flow_policies').selectAll().where('id', '>', keyBefore(page));
    if (filter.namespace !== undefined) query = query.where('namespace', '=', filter.namespace);
    if (filter.initiatorWwpn !== undefined) query = query.where('initiator_wwpn', '=', filter.initiatorWwpn);
    if (filter.targetWwpn !== undefined) query = query.where('target_wwpn', '=', filter.targetWwpn);
    const found = await query
      .orderBy('id')
      .limit(page.pageSize + 1)
      .execute();
    return pageOf(found, page, { key: ({ id }) => id, show: (record) => flowPolicyView(flowPolicyRow(record)) });
  });
}

export function flowPolicyUpdate(
  database: Database,
  id: string,
  change: FlowPolicyChange,
  ifVersion: number,
): Promise<FlowPolicy> {
  return database.change(async (tx) => {
    const row = await find(tx.db, id);
    if (row === null || row.state === 'removing') {
      throw new Failure('flow-policy-not-found', `There is no flow policy "${id}".`);
    }
    if (row.version !== ifVersion) throw hasChanged(id);
    if (row.heldBy !== null || row.pendingOperation !== null) {
      throw new Failure('resource-held', `A batch is still deciding about flow policy "${id}".`);
    }
    const next = { ...changed(row, change), version: row.version + 1 };
    await refuseUnknownQosPolicy(tx, change.qosPolicy ?? null);
    await write(tx, next, row.version);
    return flowPolicyView(next);
  });
}

/** Asks the policies that are in force now. */
export function flowResolve(
  database: Database,
  question: FlowQuestion,
  defaultAction: FlowDefault,
): Promise<FlowDecision> {
  const { initiatorWwpn, targetWwpn, namespace } = question;
  return database.read(async (db) => {
    const { rows } = await sql<FlowPolicyTable>`
      SELECT * FROM flow_policies
      WHERE initiator_wwpn IN (${initiatorWwpn}, '') AND target_wwpn IN (${targetWwpn}, '')
        AND namespace IN (${namespace ?? ''}, '') AND state = 'active'`.execute(db);
    const policies = rows.map((record) => flowPolicyView(flowPolicyRow(record)));
    return resolveFlow(question, policies, defaultAction);
  });
}

async function find(db: Connection, id: string): Promise<FlowPolicyRow | null> {
  const record = await db.selectFrom('flow_policies').selectAll().where('id', '=', id).executeTakeFirst();
  return record === undefined ? null : flowPolicyRow(record);
}

/** Only a redirect has a port that it leads to: another action drops it, and a redirect without one is refused. */
function changed(row: FlowPolicyRow, change: FlowPolicyChange): FlowPolicyRow {
  const action = change.action ?? row.action;
  const redirectTo = change.redirectTo === undefined ? row.redirectTo : change.redirectTo;
  const qosPolicy = change.qosPolicy === undefined ? row.qosPolicy : change.qosPolicy;
  if (action === 'redirect' && redirectTo === null) throw invalid('redirectTo: a redirect needs a target port.');
  if (action !== 'redirect' && (change.redirectTo ?? null) !== null) {
    throw invalid(`redirectTo: the action is ${action}, which leads nowhere else.`);
  }
  return { ...row, action, redirectTo: action === 'redirect' ? redirectTo : null, qosPolicy };
}

async function refuseUnknownQosPolicy(tx: Change, name: string | null): Promise<void> {
  if (name === null) return;
  const found = await tx.db.selectFrom('qos_policies').select('name').where('name', '=', name).executeTakeFirst();
  if (found !== undefined) return;
  throw new Failure('qos-policy-not-found', `There is no QoS policy "${name}".`, { field: 'qosPolicy' });
}

async function write(tx: Change, next: FlowPolicyRow, version: number): Promise<void> {
  const { numUpdatedRows } = await tx.db
    .updateTable('flow_policies')
    .set({ action: next.action, redirect_to: next.redirectTo, qos_policy: next.qosPolicy, version: next.version })
    .where('id', '=', next.id)
    .where('version', '=', version)
    .where('state', '=', next.state)
    .where('held_by', 'is', null)
    .executeTakeFirst();
  if (numUpdatedRows !== 1n) throw hasChanged(next.id);
  tx.tell({ kind: 'flow-policy', id: next.id, name: null, state: next.state });
}

function hasChanged(id: string): Failure {
  return new Failure('etag-mismatch', `Flow policy "${id}" has changed since it was read.`);
}

function invalid(detail: string): Failure {
  return new Failure('invalid-request', detail, { field: 'redirectTo' });
}
