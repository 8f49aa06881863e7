/**
 * Hosts. A name belongs to the machine (machine-id) and to the host token that registered it first; everything else
 * that uses the name is another machine and is refused.
 *
 * A registration that repeats what is known is a sign of life: it writes one time and takes no commit number.
 */

import { limits } from '../../config/limits.ts';
import { assert, Failure } from '../../domain/errors.ts';
import type { Host } from '../../domain/host.ts';
import { newId } from '../../domain/ids.ts';
import type { Principal } from '../../domain/principal.ts';
import type { HostRegistration, Page, PageRequest } from '../store.ts';
import type { Change, Connection, Database } from './database.ts';
import type { SqlEngine } from './engine.ts';
import { keyBefore, pageOf } from './page.ts';
import { portsReplace, samePorts } from './port.ts';
import { hostResource } from './rows.ts';
import type { HostTable, PortTable } from './schema.ts';
import { sql } from './sql.ts';

export async function hostRegister(database: Database, host: HostRegistration, principal: Principal): Promise<Host> {
  if (principal.role === 'host' && principal.host !== host.name) {
    throw new Failure('forbidden', `This token speaks for host "${principal.host}" only.`);
  }
  if (host.initiatorPorts.length > limits.portsPerHost) {
    throw new Failure('limit-reached', `A host has at most ${limits.portsPerHost} initiator ports.`);
  }
  if (await isSignOfLife(database, host, principal)) {
    const alive = await touch(database, host);
    if (alive !== null) return alive;
  }
  return database.change((tx) => register(tx, host, principal));
}

export function hostGet(database: Database, name: string): Promise<Host | null> {
  return database.read((db) => find(db, name));
}

export function hostList(database: Database, page: PageRequest): Promise<Page<Host>> {
  return database.read(async (db) => {
    const query = db.selectFrom('hosts').selectAll().where('name', '>', keyBefore(page));
    const found = await query
      .orderBy('name')
      .limit(page.pageSize + 1)
      .execute();
    const ports = await portsOf(db, database.engine, found);
    return pageOf(found, page, { key: ({ name }) => name, show: (record) => hostResource(record, ports) });
  });
}

/** Quarantined attachments count: their LUN numbers are not free before the host has let go. */
export function hostDelete(database: Database, name: string): Promise<void> {
  return database.change(async (tx) => {
    const host = await find(tx.db, name);
    if (host === null) throw notFound(name);
    const { rows } = await sql<{ attachments: number }>`
      SELECT count(*) AS attachments FROM attachments WHERE host = ${name}`.execute(tx.db);
    const attachments = rows[0]?.attachments ?? 0;
    if (attachments > 0) {
      throw new Failure('resource-in-use', `Host "${name}" has ${attachments} attachments; detach them first.`, {
        related: { attachments: String(attachments) },
      });
    }
    await tx.db.deleteFrom('ports').where('kind', '=', 'initiator').where('owner', '=', name).execute();
    await tx.db.deleteFrom('hosts').where('name', '=', name).execute();
    tx.tell({ kind: 'host', id: host.id, name, state: 'removed' });
  });
}

/** Marks hosts that have been silent as offline. Answers their names. */
export async function hostsExpire(database: Database, silentMs: number): Promise<readonly string[]> {
  const { now } = database.engine;
  const silent = sql`state = 'online' AND last_seen_at < ${now} - CAST(${silentMs} AS bigint)`;
  // Seen in the future: the clock has been set back since, and its silence counts from now.
  const ahead = sql`state = 'online' AND last_seen_at > ${now} + CAST(${silentMs} AS bigint)`;
  const any = await database.read((db) => sql`SELECT 1 FROM hosts WHERE ${silent} OR ${ahead} LIMIT 1`.execute(db));
  if (any.rows.length === 0) return [];
  return database.change(async (tx) => {
    await sql`UPDATE hosts SET last_seen_at = ${now} WHERE ${ahead}`.execute(tx.db);
    const { rows } = await sql<{ id: string; name: string }>`
      UPDATE hosts SET state = 'offline', version = version + 1 WHERE ${silent} RETURNING id, name`.execute(tx.db);
    for (const { id, name } of rows) tx.tell({ kind: 'host', id, name, state: 'offline' });
    return rows.map(({ name }) => name);
  });
}

async function find(db: Connection, name: string): Promise<Host | null> {
  const record = await findRecord(db, name);
  if (record === null) return null;
  const ports = await db
    .selectFrom('ports')
    .selectAll()
    .where('kind', '=', 'initiator')
    .where('owner', '=', name)
    .execute();
  return hostResource(record, ports);
}

async function findRecord(db: Connection, name: string): Promise<HostTable | null> {
  return (await db.selectFrom('hosts').selectAll().where('name', '=', name).executeTakeFirst()) ?? null;
}

async function portsOf(db: Connection, engine: SqlEngine, hosts: readonly HostTable[]): Promise<PortTable[]> {
  const names = engine.texts(hosts.map(({ name }) => name));
  const { rows } = await sql<PortTable>`
    SELECT * FROM ports WHERE kind = 'initiator' AND owner IN ${names}`.execute(db);
  return rows;
}

/** Nothing but the time would change. */
async function isSignOfLife(database: Database, host: HostRegistration, principal: Principal): Promise<boolean> {
  return database.read(async (db) => {
    const record = await findRecord(db, host.name);
    const known = record === null ? null : await find(db, host.name);
    if (record === null || known === null) return false;
    const bound = principal.role !== 'host' || record.credential === principal.id;
    const { machineId, bootId, simulated, initiatorPorts } = known;
    const same = machineId === host.machineId && bootId === host.bootId && simulated === host.simulated;
    return bound && same && known.state === 'online' && samePorts(initiatorPorts, host.initiatorPorts);
  });
}

/** Null: it has changed meanwhile. */
async function touch(database: Database, { name, machineId, bootId }: HostRegistration): Promise<Host | null> {
  return database.plain(async (db) => {
    const { rows } = await sql`
      UPDATE hosts SET last_seen_at = ${database.engine.now}
      WHERE name = ${name} AND machine_id = ${machineId} AND boot_id = ${bootId} AND state = 'online'
      RETURNING name`.execute(db);
    return rows.length === 0 ? null : find(db, name);
  });
}

async function register(tx: Change, host: HostRegistration, principal: Principal): Promise<Host> {
  const record = await findRecord(tx.db, host.name);
  if (record === null) await refuseTooMany(tx);
  else await refuseOthers(tx, record, host, principal);
  const credential = principal.role === 'host' ? principal.id : (record?.credential ?? null);
  const id = record?.id ?? newId('host');
  const simulated = host.simulated ? 1 : 0;
  await sql`
    INSERT INTO hosts (name, id, machine_id, boot_id, state, simulated, credential, last_seen_at, inventory_sequence, version)
    VALUES (${host.name}, ${id}, ${host.machineId}, ${host.bootId}, 'online', ${simulated}, ${credential},
      ${tx.engine.now}, 0, 1)
    ON CONFLICT (name) DO UPDATE SET boot_id = excluded.boot_id, state = excluded.state, simulated = excluded.simulated,
      credential = excluded.credential, last_seen_at = excluded.last_seen_at, version = hosts.version + 1`.execute(
    tx.db,
  );
  await portsReplace(tx, { kind: 'initiator', owner: host.name }, host.initiatorPorts);
  if (record !== null && record.boot_id !== host.bootId) await stampClaims(tx, record);
  tx.tell({ kind: 'host', id, name: host.name, state: 'online' });
  const registered = await find(tx.db, host.name);
  assert(registered !== null, 'host-registered-and-gone');
  return registered;
}

/** Claims that came with an attach carry no boot id. Those that are there when another boot appears are of the last one. */
async function stampClaims(tx: Change, { name, boot_id }: HostTable): Promise<void> {
  await sql`
    UPDATE attachments SET host_boot_id = ${boot_id}, version = version + 1
    WHERE host = ${name} AND host_boot_id IS NULL AND host_side IN ('claimed', 'attached')`.execute(tx.db);
}

async function refuseTooMany(tx: Change): Promise<void> {
  const { rows } = await sql<{ hosts: number }>`SELECT count(*) AS hosts FROM hosts`.execute(tx.db);
  const hosts = rows[0]?.hosts ?? 0;
  if (hosts >= limits.hosts) throw new Failure('limit-reached', `There are ${hosts} hosts; that is the limit.`);
}

async function refuseOthers(
  tx: Change,
  record: HostTable,
  host: HostRegistration,
  principal: Principal,
): Promise<void> {
  if (record.machine_id !== host.machineId) {
    throw new Failure('host-conflict', `Host "${host.name}" is another machine (machine-id ${record.machine_id}).`, {
      related: { host: record.id, machineId: record.machine_id },
    });
  }
  const { credential } = record;
  if (principal.role !== 'host' || credential === null || credential === principal.id) return;
  if (!(await tokenLives(tx, credential))) return;
  throw new Failure('host-conflict', `Host "${host.name}" registered with another token; delete that one first.`, {
    related: { host: record.id, token: credential },
  });
}

/** A token that was deleted or ran out binds nobody any more: the host gets a new one. */
async function tokenLives(tx: Change, id: string): Promise<boolean> {
  const { rows } = await sql`
    SELECT 1 FROM tokens WHERE id = ${id} AND (expires_at IS NULL OR expires_at > ${tx.engine.now})`.execute(tx.db);
  return rows.length > 0;
}

export function notFound(name: string): Failure {
  return new Failure('host-not-found', `There is no host "${name}".`, { field: 'host' });
}
