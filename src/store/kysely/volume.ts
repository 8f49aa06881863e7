/** Volumes as they are read; they change by operations (groups) and by the maintenance. */
import type { ExpressionBuilder, ExpressionWrapper, SqlBool } from 'kysely';
import { assert, Failure } from '../../domain/errors.ts';
import type { Volume } from '../../domain/volume.ts';
import type { Page, PageRequest, VolumeFilter } from '../store.ts';
import { volumeView } from '../views.ts';
import type { Change, Connection, Database } from './database.ts';
import type { SqlEngine } from './engine.ts';
import { keyBefore, pageOf } from './page.ts';
import { deltasOf, poolCountsApply } from './pool-counts.ts';
import { attachmentRow, volumeRow } from './rows.ts';
import type { AttachmentTable, Schema, VolumeTable } from './schema.ts';
import { sql } from './sql.ts';

export function volumeGet(database: Database, nameOrId: string): Promise<Volume | null> {
  return database.read(async (db) => {
    const record = await find(db, nameOrId);
    return record === null ? null : view(db, database.engine, record);
  });
}

export function volumeList(database: Database, filter: VolumeFilter, page: PageRequest): Promise<Page<Volume>> {
  return database.read(async (db) => {
    let query = db.selectFrom('volumes').selectAll().where('id', '>', keyBefore(page));
    if (filter.state !== undefined) query = query.where('state', '=', filter.state);
    if (filter.pool !== undefined) query = query.where('pool', '=', filter.pool);
    const { host, label } = filter;
    if (host !== undefined) query = query.where((eb) => attachedTo(eb, host));
    if (label !== undefined) query = query.where(hasLabel(database.engine, label));
    const found = await query
      .orderBy('id')
      .limit(page.pageSize + 1)
      .execute();
    const { items, nextPageToken } = pageOf(found, page, { key: ({ id }) => id, show: (record) => record });
    return { items: await views(db, database.engine, items), nextPageToken };
  });
}

/** Only from `failed`; without attachments, because the wipe that follows needs the volume for itself. */
export function volumeClear(database: Database, nameOrId: string): Promise<Volume> {
  return database.change(async (tx) => {
    const record = await find(tx.db, nameOrId);
    if (record === null) throw new Failure('volume-not-found', `There is no volume "${nameOrId}".`);
    refuseClear(record, nameOrId);
    await clear(tx, record);
    const after = await find(tx.db, record.id);
    assert(after !== null, 'volume-cleared-and-gone');
    return view(tx.db, tx.engine, after);
  });
}

async function find(db: Connection, nameOrId: string): Promise<VolumeTable | null> {
  const { rows } = await sql<VolumeTable>`SELECT * FROM volumes WHERE id = ${nameOrId} OR name = ${nameOrId}`.execute(
    db,
  );
  return rows[0] ?? null;
}

async function view(db: Connection, engine: SqlEngine, record: VolumeTable): Promise<Volume> {
  const [volume] = await views(db, engine, [record]);
  assert(volume !== undefined, 'volume-view');
  return volume;
}

async function views(db: Connection, engine: SqlEngine, records: readonly VolumeTable[]): Promise<Volume[]> {
  if (records.length === 0) return [];
  const ids = engine.texts(records.map(({ id }) => id));
  const { rows } = await sql<AttachmentTable>`
    SELECT * FROM attachments WHERE volume_id IN ${ids} ORDER BY id`.execute(db);
  const byVolume = Map.groupBy(rows.map(attachmentRow), ({ volumeId }) => volumeId);
  return records.map((record) => volumeView(volumeRow(record), byVolume.get(record.id) ?? []));
}

function attachedTo(
  eb: ExpressionBuilder<Schema, 'volumes'>,
  host: string,
): ExpressionWrapper<Schema, 'volumes', SqlBool> {
  const attachments = eb.selectFrom('attachments').select('attachments.id').where('attachments.host', '=', host);
  return eb.exists(attachments.whereRef('attachments.volume_id', '=', 'volumes.id'));
}

/** `key`, or `key=value`; a key has no `=`. */
function hasLabel(engine: SqlEngine, label: string) {
  const at = label.indexOf('=');
  const value = engine.jsonField('labels', at < 0 ? label : label.slice(0, at));
  return at < 0 ? sql<SqlBool>`${value} IS NOT NULL` : sql<SqlBool>`${value} = ${label.slice(at + 1)}`;
}

function refuseClear(record: VolumeTable, name: string): void {
  const related = { volume: record.id, state: record.state };
  if (record.state !== 'failed') {
    throw new Failure('volume-not-failed', `Volume "${name}" is ${record.state}, not quarantined.`, { related });
  }
  if (record.writer !== null || record.readers > 0) {
    throw new Failure('volume-in-use', `Volume "${name}" is still attached; detach it first.`, { related });
  }
  if (record.held_by !== null || record.pending_operation !== null) {
    throw new Failure('resource-held', `An operation is still at work on volume "${name}".`, { related });
  }
}

async function clear(tx: Change, { id, pool, version, name }: VolumeTable): Promise<void> {
  const { rows } = await sql`
    UPDATE volumes SET state = 'wiping', generation = ${tx.commit}, name = NULL, labels = '{}', qos_policy = NULL,
      failure_reason = NULL, medium_failures = 0, allocated_at = NULL, lease_until = 0, version = version + 1
    WHERE id = ${id} AND version = ${version} AND state = 'failed' RETURNING id`.execute(tx.db);
  assert(rows.length === 1, 'volume-clear-lost');
  await poolCountsApply(tx.db, tx.engine, deltasOf([{ pool, from: 'failed', to: 'wiping' }]));
  tx.tell({ kind: 'volume', id, name, state: 'wiping' });
}
