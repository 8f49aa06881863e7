/** Attachments as they are read, and the hosts' word about them written down (host-report.ts decides what it means). */
import type { SqlBool } from 'kysely';
import type { Attachment, Path } from '../../domain/attachment.ts';
import { assert, type Problem } from '../../domain/errors.ts';
import { batchOf } from '../../domain/operation.ts';
import type { AttachmentFilter, HostStateReport, Page, PageRequest } from '../store.ts';
import { attachmentView } from '../views.ts';
import type { Change, Connection, Database } from './database.ts';
import type { ColumnType, SqlEngine } from './engine.ts';
import { applyHostReport, type HostSideOfAttachment } from './host-report.ts';
import { keyBefore, pageOf } from './page.ts';
import { attachmentRow, volumeRow } from './rows.ts';
import type { AttachmentTable, VolumeTable } from './schema.ts';
import { sql } from './sql.ts';

export function attachmentGet(database: Database, id: string): Promise<Attachment | null> {
  return database.read(async (db) => {
    const { rows } = await sql<AttachmentTable>`SELECT * FROM attachments WHERE id = ${id}`.execute(db);
    return (await attachmentViews(db, database.engine, rows))[0] ?? null;
  });
}

export function attachmentList(
  database: Database,
  filter: AttachmentFilter,
  page: PageRequest,
): Promise<Page<Attachment>> {
  return database.read(async (db) => {
    let query = db.selectFrom('attachments').selectAll().where('id', '>', keyBefore(page));
    const { state, host, volume } = filter;
    if (state !== undefined) query = query.where('state', '=', state);
    if (host !== undefined) query = query.where('host', '=', host);
    if (volume !== undefined) {
      query = query.where(sql<SqlBool>`volume_id IN (SELECT id FROM volumes WHERE id = ${volume} OR name = ${volume})`);
    }
    const found = await query
      .orderBy('id')
      .limit(page.pageSize + 1)
      .execute();
    const { items, nextPageToken } = pageOf(found, page, { key: ({ id }) => id, show: (record) => record });
    return { items: await attachmentViews(db, database.engine, items), nextPageToken };
  });
}

/** An attachment's volume outlives it; where it is gone already, the attachment went between the two statements. */
export async function attachmentViews(
  db: Connection,
  engine: SqlEngine,
  records: readonly AttachmentTable[],
): Promise<Attachment[]> {
  return viewsOver(records, await volumesById(db, engine, records));
}

function viewsOver(records: readonly AttachmentTable[], volumes: ReadonlyMap<string, VolumeTable>): Attachment[] {
  return records.flatMap((record) => {
    const volume = volumes.get(record.volume_id);
    return volume === undefined ? [] : [attachmentView(attachmentRow(record), volumeRow(volume))];
  });
}

export async function volumesById(
  db: Connection,
  engine: SqlEngine,
  records: readonly AttachmentTable[],
): Promise<Map<string, VolumeTable>> {
  if (records.length === 0) return new Map();
  const ids = engine.texts([...new Set(records.map(({ volume_id }) => volume_id))]);
  const { rows } = await sql<VolumeTable>`SELECT * FROM volumes WHERE id IN ${ids}`.execute(db);
  return new Map(rows.map((volume) => [volume.id, volume]));
}

type Answer =
  | { readonly ok: true; readonly attachment: Attachment }
  | { readonly ok: false; readonly problem: Problem };

export async function hostStateReport(
  database: Database,
  reports: readonly HostStateReport[],
): Promise<readonly Answer[]> {
  if (reports.length === 0) return [];
  return database.change(async (tx) => {
    const records = await attachmentsById(tx, [...new Set(reports.map(({ attachment }) => attachment))]);
    const volumes = await volumesById(tx.db, tx.engine, records);
    const sides = new Map(records.map((record) => [record.id, sideOf(record, volumes.get(record.volume_id))]));
    const answers = reports.map((report) => {
      const before = sides.get(report.attachment) ?? null;
      const result = applyHostReport(before, report);
      if (result.ok) sides.set(report.attachment, result.side);
      return result.ok ? { ok: true as const, id: report.attachment } : result;
    });
    await hostSidesWrite(tx, records, sides);
    const unformatted = records.filter(({ volume_id }) => volumes.get(volume_id)?.formatted === 0);
    const formatted = unformatted.filter(({ id }) => sides.get(id)?.formatted === true);
    await writeFormatted(tx, formatted);
    const left = formatted.length === 0 ? volumes : await volumesById(tx.db, tx.engine, records);
    // Those that went with the report are answered as they were when they went.
    const after = new Map(viewsOver(records.map(written(sides)), left).map((view) => [view.id, view]));
    return answers.map((answer) => {
      if (!answer.ok) return answer;
      const attachment = after.get(answer.id);
      assert(attachment !== undefined, 'host-report-attachment-gone');
      return { ok: true, attachment };
    });
  });
}

async function attachmentsById({ db, engine }: Change, ids: readonly string[]): Promise<AttachmentTable[]> {
  return (await sql<AttachmentTable>`SELECT * FROM attachments WHERE id IN ${engine.texts(ids)}`.execute(db)).rows;
}

/** A record as it is once its side is written. */
function written(sides: ReadonlyMap<string, HostSideOfAttachment>) {
  return (record: AttachmentTable): AttachmentTable => {
    const { state = record.state, hostSide = record.host_side } = sides.get(record.id) ?? {};
    return { ...record, state, host_side: hostSide };
  };
}

export function sideOf(record: AttachmentTable, volume: VolumeTable | undefined): HostSideOfAttachment {
  const { state, hostSide, epoch, mediaGeneration } = attachmentRow(record);
  return {
    id: record.id,
    host: record.host,
    state,
    hostSide,
    epoch,
    held: record.held_by !== null,
    bootId: record.host_boot_id,
    proof: record.proof,
    formatted: volume?.formatted === 1,
    sameMedium: volume?.media_generation === mediaGeneration,
    released: false,
  };
}

const sideColumns = {
  id: 'text',
  version: 'bigint',
  state: 'text',
  host_side: 'text',
  host_boot_id: 'text',
  proof: 'text',
} as const satisfies Readonly<Record<string, ColumnType>>;

/** Writes what differs from the records, and wakes the batches that waited for "gone". */
export async function hostSidesWrite(
  tx: Change,
  records: readonly AttachmentTable[],
  sides: ReadonlyMap<string, HostSideOfAttachment>,
): Promise<void> {
  const pairs = records.flatMap((record) => {
    const side = sides.get(record.id);
    return side === undefined ? [] : [{ record, side }];
  });
  await writeSides(tx, pairs.filter(differs));
  const released = pairs.filter(({ side }) => side.released).map(({ record }) => record);
  await wakeBatches(tx, released);
  await removeCutOff(
    tx,
    released.filter(({ state, pending_operation }) => state === 'quarantined' && pending_operation === null),
  );
}

/** The target cut them off long ago: with the host's word nothing is left of them, and the LUN numbers are free. */
async function removeCutOff(tx: Change, records: readonly AttachmentTable[]): Promise<void> {
  if (records.length === 0) return;
  const ids = tx.engine.texts(records.map(({ id }) => id));
  const paths = records.flatMap(({ paths, id }) => (JSON.parse(paths) as Path[]).map((path) => ({ ...path, id })));
  const taken = tx.engine.rows(paths, { initiatorWwpn: 'text', targetWwpn: 'text', lun: 'bigint', id: 'text' });
  await sql`UPDATE luns SET attachment = NULL FROM ${taken} AS j
    WHERE initiator_wwpn = j."initiatorWwpn" AND target_wwpn = j."targetWwpn" AND luns.lun = j.lun
      AND attachment = j.id`.execute(tx.db);
  await sql`DELETE FROM attachments WHERE id IN ${ids}`.execute(tx.db);
  for (const { id } of records) tx.tell({ kind: 'attachment', id, name: null, state: 'released' });
}

interface Pair {
  readonly record: AttachmentTable;
  readonly side: HostSideOfAttachment;
}

function differs({ record, side }: Pair): boolean {
  return (
    record.state !== side.state ||
    record.host_side !== side.hostSide ||
    record.host_boot_id !== side.bootId ||
    record.proof !== side.proof
  );
}

async function writeSides(tx: Change, pairs: readonly Pair[]): Promise<void> {
  if (pairs.length === 0) return;
  const rows = pairs.map(({ record: { id, version }, side }) => {
    return { id, version, state: side.state, host_side: side.hostSide, host_boot_id: side.bootId, proof: side.proof };
  });
  const answer = await sql<{ id: string }>`
    UPDATE attachments SET state = j.state, host_side = j.host_side, host_boot_id = j.host_boot_id, proof = j.proof,
      changed_at_commit = ${tx.commit}, version = attachments.version + 1
    FROM ${tx.engine.rows(rows, sideColumns)} AS j
    WHERE attachments.id = j.id AND attachments.version = j.version
    RETURNING attachments.id`.execute(tx.db);
  const written = new Set(answer.rows.map(({ id }) => id));
  for (const { record, side } of pairs) {
    assert(written.has(record.id), 'host-side-write-lost');
    const state = side.state === record.state ? `${side.state} (host: ${side.hostSide})` : side.state;
    tx.tell({ kind: 'attachment', id: record.id, name: null, state });
  }
}

/** Only the medium that the attachment led to: a volume that was wiped since is not formatted by an old report. */
async function writeFormatted(tx: Change, records: readonly AttachmentTable[]): Promise<void> {
  if (records.length === 0) return;
  const rows = records.map(({ volume_id, media_generation }) => ({ id: volume_id, media: media_generation }));
  await sql`
    UPDATE volumes SET formatted = 1, version = volumes.version + 1
    FROM ${tx.engine.rows(rows, { id: 'text', media: 'bigint' })} AS j
    WHERE volumes.id = j.id AND media_generation = j.media AND formatted = 0 AND state = 'allocated'`.execute(tx.db);
}

async function wakeBatches(tx: Change, records: readonly AttachmentTable[]): Promise<void> {
  const batches = records.flatMap(({ pending_operation }) =>
    pending_operation === null ? [] : [batchOf(pending_operation).batch],
  );
  if (batches.length === 0) return;
  await sql`UPDATE batches SET ready = 1 WHERE id IN ${tx.engine.texts(batches)} AND state <> 'ended'`.execute(tx.db);
}
