/** Free volumes that their pool may no longer keep, because it drains or was made smaller, are retired. */

import { limits } from '../../config/limits.ts';
import type { Change, Connection, Database } from './database.ts';
import { poolsRemoveEmpty } from './pool.ts';
import { deltasOf, poolCountsApply } from './pool-counts.ts';
import type { VolumeInPool } from './settle.ts';
import { sql } from './sql.ts';

/** Answers how many it retired; a call retires at most `limits.poolTrimVolumes` of a pool. */
export async function poolTrim(database: Database): Promise<number> {
  const { excess, empty } = await database.read(surplus);
  if (excess.length === 0 && !empty) return 0;
  return database.change(async (tx) => {
    const retired = await retire(tx, (await surplus(tx.db)).excess);
    const changes = retired.map(({ pool }) => ({ pool, from: 'free', to: 'retired' }) as const);
    await poolCountsApply(tx.db, tx.engine, deltasOf(changes));
    await poolsRemoveEmpty(tx);
    return retired.length;
  });
}

interface Excess {
  readonly pool: string;
  readonly count: number;
}

/** By pool, how many free volumes are too many; and whether a pool that is to be deleted has none left at all. */
async function surplus(db: Connection): Promise<{ readonly excess: readonly Excess[]; readonly empty: boolean }> {
  const { rows } = await sql<Excess>`
    SELECT name AS pool,
      CASE WHEN state = 'draining' THEN free ELSE provisioning + free + allocated + wiping + failed - max_volumes END AS count
    FROM pools
    WHERE free > 0 AND (state = 'draining' OR provisioning + free + allocated + wiping + failed > max_volumes)`.execute(
    db,
  );
  const excess = rows.map(({ pool, count }) => ({ pool, count: Math.min(count, limits.poolTrimVolumes) }));
  return { excess, empty: await deletedAndEmpty(db) };
}

async function deletedAndEmpty(db: Connection): Promise<boolean> {
  const { rows } = await sql`
    SELECT 1 FROM pools
    WHERE deleting = 1 AND provisioning + free + allocated + wiping + failed + retired = 0 LIMIT 1`.execute(db);
  return rows.length > 0;
}

/** The newest go first. A volume that a batch holds is left to it. */
async function retire(tx: Change, excess: readonly Excess[]): Promise<readonly VolumeInPool[]> {
  if (excess.length === 0) return [];
  const limit = Math.max(...excess.map(({ count }) => count));
  const where = sql`f.pool = j.pool AND f.state = 'free' AND f.held_by IS NULL`;
  const newest = tx.engine.joinFirst('volumes', { as: 'v', key: 'id', descending: true, where, limit });
  const pools = tx.engine.rows(excess, { pool: 'text', count: 'bigint' });
  const { rows } = await sql<VolumeInPool>`
    UPDATE volumes SET state = 'retired', lease_until = 0, version = version + 1
    WHERE state = 'free' AND held_by IS NULL AND id IN (
      SELECT id FROM (
        SELECT v.id, j.count, row_number() OVER (PARTITION BY v.pool ORDER BY v.id DESC) AS place
        FROM ${pools} AS j ${newest}
      ) AS placed WHERE place <= count)
    RETURNING id, pool`.execute(tx.db);
  for (const { id } of rows) tx.tell({ kind: 'volume', id, name: null, state: 'retired' });
  return rows;
}
