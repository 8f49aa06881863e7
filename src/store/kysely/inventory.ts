/**
 * What a host found at a scan. A scan is about the moment at which it began: attachments that changed since (by commit
 * number) are left alone, and so are scans older than the last one, or of another boot than the registered one.
 *
 * Absence says something only after a reboot: devices do not survive one. On a machine that has not rebooted, only the
 * explicit proof of "gone" counts; a device that a scan does not see may live in another mount namespace.
 */

import type { Attachment } from '../../domain/attachment.ts';
import { assert, Failure } from '../../domain/errors.ts';
import type { InventoryBegun } from '../../domain/host.ts';
import type { HostInventoryReport } from '../store.ts';
import { attachmentViews, hostSidesWrite, sideOf } from './attachment.ts';
import type { Connection, Database } from './database.ts';
import { notFound } from './host.ts';
import type { HostSideOfAttachment } from './host-report.ts';
import { storeIdentity } from './lease.ts';
import type { AttachmentTable } from './schema.ts';
import { sql } from './sql.ts';

export interface InventoryAnswer {
  readonly wanted: readonly Attachment[];
  readonly unwanted: readonly string[];
}

/** The number of the last commit that whoever scans now can know of. */
export async function inventoryBegin(database: Database, host: string): Promise<InventoryBegun> {
  const { rows } = await database.read((db) =>
    sql<{ value: number }>`
      SELECT value FROM sequences WHERE name = 'commit' AND EXISTS (SELECT 1 FROM hosts WHERE name = ${host})`.execute(
      db,
    ),
  );
  const row = rows[0];
  if (row === undefined) throw notFound(host);
  return { sequence: row.value, ...(await database.read(storeIdentity)) };
}

export async function inventoryReport(database: Database, report: HostInventoryReport): Promise<InventoryAnswer> {
  const found = await database.read((db) => liveAttachments(db, report.host));
  if (changesOf(found, report).size === 0) {
    await database.plain((db) => recordScan(db, database, report));
  } else {
    await database.change(async (tx) => {
      await recordScan(tx.db, database, report);
      const records = await liveAttachments(tx.db, report.host);
      await hostSidesWrite(tx, records, changesOf(records, report));
    });
  }
  return database.read((db) => answer(db, database, report));
}

async function liveAttachments(db: Connection, host: string): Promise<AttachmentTable[]> {
  return db.selectFrom('attachments').selectAll().where('host', '=', host).orderBy('id').execute();
}

async function answer(db: Connection, database: Database, report: HostInventoryReport): Promise<InventoryAnswer> {
  const records = await liveAttachments(db, report.host);
  const live = new Set(records.map(({ id }) => id));
  const wanted = await attachmentViews(db, database.engine, records);
  return { wanted, unwanted: report.present.filter((id) => !live.has(id)) };
}

async function recordScan(db: Connection, database: Database, report: HostInventoryReport): Promise<void> {
  const { host, bootId, sequence } = report;
  const { rows } = await sql`
    UPDATE hosts SET inventory_sequence = ${sequence}, last_seen_at = ${database.engine.now}
    WHERE name = ${host} AND boot_id = ${bootId} AND inventory_sequence <= ${sequence} RETURNING name`.execute(db);
  if (rows.length === 1) return;
  const known = await db.selectFrom('hosts').selectAll().where('name', '=', host).executeTakeFirst();
  if (known === undefined) throw notFound(host);
  const why = known.boot_id === bootId ? `older than the last one (${known.inventory_sequence})` : 'of another boot';
  throw new Failure('stale-epoch', `The inventory of host "${host}" with sequence ${sequence} is ${why}.`);
}

function changesOf(
  records: readonly AttachmentTable[],
  report: HostInventoryReport,
): ReadonlyMap<string, HostSideOfAttachment> {
  const present = new Set(report.present);
  const absent = records.filter(
    ({ id, changed_at_commit }) => !present.has(id) && changed_at_commit <= report.sequence,
  );
  const changes = absent.flatMap((record) => lostInReboot(sideOf(record, undefined), report.bootId) ?? []);
  return new Map(changes.map((side) => [side.id, side]));
}

/** Null: the scan changes nothing. Claims without a boot id are younger than any report of their host. */
function lostInReboot(side: HostSideOfAttachment, bootId: string): HostSideOfAttachment | null {
  if (side.bootId === null || side.bootId === bootId) return null;
  if (side.hostSide === 'none' || side.hostSide === 'gone') return null;
  switch (side.state) {
    case 'exported':
    case 'attached':
      return { ...side, state: 'exported', hostSide: 'none', bootId: null, proof: null };
    case 'detaching':
    case 'quarantined':
      return { ...side, hostSide: 'gone', bootId, proof: null, released: true };
    default:
      assert(side.state === 'exporting', 'inventory-released-attachment');
      return null;
  }
}
