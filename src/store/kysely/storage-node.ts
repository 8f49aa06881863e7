/** Storage nodes and their target ports. A registration that repeats what is known only writes the time. */

import { limits } from '../../config/limits.ts';
import { assert, Failure } from '../../domain/errors.ts';
import type { StorageNode } from '../../domain/host.ts';
import { newId } from '../../domain/ids.ts';
import type { Page, PageRequest, StorageNodeRegistration } from '../store.ts';
import type { Change, Connection, Database } from './database.ts';
import { keyBefore, pageOf } from './page.ts';
import { portsReplace, samePorts } from './port.ts';
import { storageNodeResource } from './rows.ts';
import type { PortTable } from './schema.ts';
import { sql } from './sql.ts';

export async function storageNodeRegister(database: Database, node: StorageNodeRegistration): Promise<StorageNode> {
  const known = await database.read((db) => find(db, node.name));
  if (known !== null && isSame(known, node)) return touch(database, known);
  return database.change((tx) => register(tx, node));
}

export function storageNodeGet(database: Database, name: string): Promise<StorageNode | null> {
  return database.read((db) => find(db, name));
}

export function storageNodeList(database: Database, page: PageRequest): Promise<Page<StorageNode>> {
  return database.read(async (db) => {
    const query = db.selectFrom('storage_nodes').selectAll().where('name', '>', keyBefore(page));
    const found = await query
      .orderBy('name')
      .limit(page.pageSize + 1)
      .execute();
    const names = database.engine.texts(found.map(({ name }) => name));
    const { rows } = await sql<PortTable>`
      SELECT * FROM ports WHERE kind = 'target' AND owner IN ${names}`.execute(db);
    return pageOf(found, page, { key: ({ name }) => name, show: (record) => storageNodeResource(record, rows) });
  });
}

async function find(db: Connection, name: string): Promise<StorageNode | null> {
  const record = await db.selectFrom('storage_nodes').selectAll().where('name', '=', name).executeTakeFirst();
  if (record === undefined) return null;
  const ports = await db
    .selectFrom('ports')
    .selectAll()
    .where('kind', '=', 'target')
    .where('owner', '=', name)
    .execute();
  return storageNodeResource(record, ports);
}

function isSame(known: StorageNode, node: StorageNodeRegistration): boolean {
  const backends = (list: readonly string[]) => [...list].sort().join();
  return (
    known.exporter === node.exporter &&
    known.canFence === node.canFence &&
    backends(known.backends) === backends(node.backends) &&
    samePorts(known.targetPorts, node.targetPorts)
  );
}

async function touch(database: Database, known: StorageNode): Promise<StorageNode> {
  return { ...known, lastSeenAt: (await storageNodeSeen(database, known.name)) ?? known.lastSeenAt };
}

/** The time that is now written to it; null: it is not known. */
export async function storageNodeSeen(database: Database, name: string): Promise<number | null> {
  const { rows } = await database.plain((db) =>
    sql<{ last_seen_at: number }>`
      UPDATE storage_nodes SET last_seen_at = ${database.engine.now} WHERE name = ${name}
      RETURNING last_seen_at`.execute(db),
  );
  return rows[0]?.last_seen_at ?? null;
}

async function register(tx: Change, node: StorageNodeRegistration): Promise<StorageNode> {
  const known = await find(tx.db, node.name);
  if (known === null) await refuseTooMany(tx);
  const id = known?.id ?? newId('node');
  await sql`
    INSERT INTO storage_nodes (name, id, exporter, backends, can_fence, last_seen_at, version)
    VALUES (${node.name}, ${id}, ${node.exporter}, ${JSON.stringify(node.backends)}, ${node.canFence ? 1 : 0},
      ${tx.engine.now}, 1)
    ON CONFLICT (name) DO UPDATE SET exporter = excluded.exporter, backends = excluded.backends,
      can_fence = excluded.can_fence, last_seen_at = excluded.last_seen_at,
      version = storage_nodes.version + 1`.execute(tx.db);
  await portsReplace(tx, { kind: 'target', owner: node.name }, node.targetPorts);
  tx.tell({ kind: 'storage-node', id, name: node.name, state: 'registered' });
  const registered = await find(tx.db, node.name);
  assert(registered !== null, 'storage-node-registered-and-gone');
  return registered;
}

async function refuseTooMany(tx: Change): Promise<void> {
  const { rows } = await sql<{ nodes: number }>`SELECT count(*) AS nodes FROM storage_nodes`.execute(tx.db);
  const nodes = rows[0]?.nodes ?? 0;
  if (nodes < limits.storageNodes) return;
  throw new Failure('limit-reached', `There are ${nodes} storage nodes; that is the limit.`);
}
