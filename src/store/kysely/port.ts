/**
 * Ports of hosts and of storage nodes, in one table: a WWPN has one owner over everything. Two owners of one port name
 * would share an ACL, and one machine would reach the other's volumes.
 */
import type { SqlBool } from 'kysely';
import { Failure } from '../../domain/errors.ts';
import type { Port } from '../../domain/host.ts';
import type { Change } from './database.ts';
import { portColumns, portRecord } from './rows.ts';
import type { PortTable } from './schema.ts';
import { type Sql, sql } from './sql.ts';

export interface PortOwner {
  readonly kind: PortTable['kind'];
  readonly owner: string;
}

/** The owner's ports become exactly these. Throws `host-conflict` where one of them belongs to somebody else. */
export async function portsReplace(tx: Change, { kind, owner }: PortOwner, ports: readonly Port[]): Promise<void> {
  const rows = [...new Map(ports.map((each) => [each.wwpn, portRecord(each, kind, owner)])).values()];
  const wwpns = tx.engine.texts(rows.map(({ wwpn }) => wwpn));
  await refuseForeign(tx, { kind, owner }, wwpns);
  await sql`DELETE FROM ports WHERE kind = ${kind} AND owner = ${owner} AND wwpn NOT IN ${wwpns}`.execute(tx.db);
  const columns = sql.join(Object.keys(portColumns).map((name) => sql.id(name)));
  await sql`
    INSERT INTO ports (${columns}) SELECT ${columns} FROM ${tx.engine.rows(rows, portColumns)} AS j WHERE TRUE
    ON CONFLICT (wwpn) DO UPDATE SET fabric = excluded.fabric, state = excluded.state, synthesized = excluded.synthesized
    WHERE ports.kind = excluded.kind AND ports.owner = excluded.owner`.execute(tx.db);
}

async function refuseForeign(tx: Change, { kind, owner }: PortOwner, wwpns: Sql): Promise<void> {
  const query = tx.db.selectFrom('ports').selectAll().where(sql<SqlBool>`wwpn IN ${wwpns}`);
  const foreign = await query
    .where((eb) => eb.or([eb('kind', '<>', kind), eb('owner', '<>', owner)]))
    .orderBy('wwpn')
    .executeTakeFirst();
  if (foreign === undefined) return;
  const holder = foreign.kind === 'initiator' ? 'host' : 'storage node';
  throw new Failure('host-conflict', `Port ${foreign.wwpn} belongs to ${holder} "${foreign.owner}".`, {
    related: { wwpn: foreign.wwpn, owner: foreign.owner },
  });
}

/** Whether two lists name the same ports in the same states, in whatever order. */
export function samePorts(left: readonly Port[], right: readonly Port[]): boolean {
  return textOf(left) === textOf(right);
}

function textOf(ports: readonly Port[]): string {
  const texts = ports.map(({ wwpn, fabric, state, synthesized }) => JSON.stringify([wwpn, fabric, state, synthesized]));
  return [...new Set(texts)].sort().join();
}
