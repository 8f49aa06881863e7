import type { Database } from './database.ts';
import { deltasOf, poolCountsApply } from './pool-counts.ts';
import { sql } from './sql.ts';

/** `free -> wiping` for every free volume of the storage node: somebody may have owned it since this store was written. */
export async function freeVolumesDistrust(database: Database, storageNode: string): Promise<number> {
  return database.change(async (tx) => {
    const { rows } = await sql<{ id: string; pool: string | null }>`
      UPDATE volumes SET state = 'wiping', generation = ${tx.commit}, wipe_proof = NULL, lease_until = 0, version = version + 1
      WHERE storage_node = ${storageNode} AND state = 'free' AND held_by IS NULL RETURNING id, pool`.execute(tx.db);
    const changes = rows.map(({ pool }) => ({ pool, from: 'free' as const, to: 'wiping' as const }));
    await poolCountsApply(tx.db, tx.engine, deltasOf(changes));
    for (const { id } of rows) tx.tell({ kind: 'volume', id, name: null, state: 'wiping' });
    return rows.length;
  });
}
