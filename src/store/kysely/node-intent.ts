/** What a storage node should hold, for the reconciler that has read the node's inventory before it asks. */
import type { SqlBool } from 'kysely';
import type { ExportRequest } from '../../storage-node/storage-node.ts';
import type { AttachmentRow, VolumeRow } from '../group.ts';
import type { NodeIntent, NodeInventoryKeys } from '../store.ts';
import { attachmentView } from '../views.ts';
import { volumesById } from './attachment.ts';
import type { Database } from './database.ts';
import { storeStamp } from './lease.ts';
import { attachmentRow, volumeRow } from './rows.ts';
import { sql } from './sql.ts';

/**
 * Volumes: those of the keys that live on the node, and those whose medium must be there. Attachments: all of the node,
 * whatever their state, and those of the keys; who reconciles looks at the state.
 */
export async function nodeIntent(
  database: Database,
  storageNode: string,
  about: NodeInventoryKeys,
): Promise<NodeIntent> {
  const { highestGeneration } = await storeStamp(database);
  return {
    volumes: await volumesOf(database, storageNode, about.volumeIds),
    attachments: await attachmentsOf(database, storageNode),
    highestGeneration,
  };
}

function volumesOf(database: Database, storageNode: string, ids: readonly string[]): Promise<NodeIntent['volumes']> {
  return database.read(async (db) => {
    const { rows } = await sql<NodeIntent['volumes'][number]>`
      SELECT id, state, generation, media_generation AS "mediaGeneration" FROM volumes
      WHERE storage_node = ${storageNode} AND id IN ${database.engine.texts(ids)}
      ORDER BY id`.execute(db);
    return rows;
  });
}

function attachmentsOf(database: Database, storageNode: string): Promise<NodeIntent['attachments']> {
  return database.read(async (db) => {
    const query = db.selectFrom('attachments').selectAll();
    const records = await query.where(sql<SqlBool>`storage_node = ${storageNode}`).orderBy('id').execute();
    const volumes = await volumesById(db, database.engine, records);
    return records.flatMap((record) => {
      const volume = volumes.get(record.volume_id);
      if (volume === undefined) return [];
      const row = attachmentRow(record);
      return [{ attachment: attachmentView(row, volumeRow(volume)), export: exportOf(row, volumeRow(volume)) }];
    });
  });
}

function exportOf(row: AttachmentRow, volume: VolumeRow): ExportRequest {
  return {
    volumeId: row.volumeId,
    // The volume's: a later round for another attachment of it has shut the attachment's own out.
    generation: Math.max(row.generation, volume.generation),
    attachmentId: row.id,
    mediaGeneration: row.mediaGeneration,
    epoch: row.epoch,
    readOnly: row.accessMode === 'read-only-many',
    serial: volume.serial,
    wwid: volume.wwid,
    paths: row.paths,
  };
}
