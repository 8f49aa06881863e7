/**
 * The database's clock may be set back. Leases that were given before would then last as long as it was set back by, and
 * what their worker did not bring to an end would not be taken up again until then.
 */
import { limits } from '../../config/limits.ts';
import { type Database, together } from './database.ts';
import { working } from './destroy.ts';
import { sql } from './sql.ts';

const longestLeaseMs = Math.max(limits.effectLeaseMs, limits.provisionLeaseMs, limits.wipeLeaseMs);

/** Leases that end later than any that is given now are over. Answers how many batches and volumes have one. */
export async function leasesCurtail(database: Database): Promise<number> {
  const { now } = database.engine;
  const tooLong = sql`lease_until > ${now} + ${sql.lit(longestLeaseMs)}`;
  const any = await database.read((db) =>
    sql`SELECT 1 FROM batches WHERE state <> 'ended' AND ${tooLong}
      UNION ALL SELECT 1 FROM volumes WHERE ${working} AND ${tooLong} LIMIT 1`.execute(db),
  );
  if (any.rows.length === 0) return 0;
  return database.plain(async (db) => {
    const curtailed = await together(
      sql`UPDATE batches SET lease_until = ${now} WHERE state <> 'ended' AND ${tooLong} RETURNING 1`.execute(db),
      sql`UPDATE volumes SET lease_until = ${now} WHERE ${working} AND ${tooLong} RETURNING 1`.execute(db),
      sql`UPDATE volumes SET lease_until = ${now} WHERE pending_operation IS NOT NULL AND ${tooLong}`.execute(db),
      sql`UPDATE attachments SET lease_until = ${now} WHERE pending_operation IS NOT NULL AND ${tooLong}`.execute(db),
    );
    return curtailed.reduce((count, { rows }) => count + rows.length, 0);
  });
}
