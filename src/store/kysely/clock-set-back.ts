/**
 * The database's clock may be set back. Leases that were given before would then last as long as it was set back by, and
 * what their worker did not bring to an end would not be taken up again until then.
 */
import { limits } from '../../config/limits.ts';
import { type Database, together } from './database.ts';
import { working } from './erasure.ts';
import { type Sql, sql } from './sql.ts';

const { effectLeaseMs, provisionLeaseMs, wipeLeaseMs, wipeRetryMs } = limits;

const erased = sql`${working} AND state IN ('wiping', 'retired') AND pending_operation IS NULL`;

/** Whose rows have a lease, and how long one is that is given now. */
const leased: readonly { readonly table: Sql; readonly rows: Sql; readonly ms: number }[] = [
  { table: sql.id('batches'), rows: sql`state <> 'ended'`, ms: effectLeaseMs },
  { table: sql.id('volumes'), rows: sql`pending_operation IS NOT NULL`, ms: effectLeaseMs },
  {
    table: sql.id('volumes'),
    rows: sql`state = 'provisioning' AND pending_operation IS NULL`,
    ms: provisionLeaseMs,
  },
  { table: sql.id('volumes'), rows: sql`${erased} AND effect = 'issued'`, ms: wipeLeaseMs },
  // Nobody's, and tried again then.
  { table: sql.id('volumes'), rows: sql`${erased} AND effect IS NULL`, ms: wipeRetryMs },
  { table: sql.id('attachments'), rows: sql`pending_operation IS NOT NULL`, ms: effectLeaseMs },
];

/** Leases that end later than one of their kind that is given now are over. Answers how many there were. */
export async function leasesCurtail(database: Database): Promise<number> {
  const { now } = database.engine;
  const tooLong = leased.map(({ table, rows, ms }) => ({
    table,
    where: sql`${rows} AND lease_until > ${now} + ${sql.lit(ms)}`,
  }));
  const looks = tooLong.map(({ table, where }) => sql`SELECT 1 FROM ${table} WHERE ${where}`);
  const any = await database.read((db) => sql`${sql.join(looks, sql` UNION ALL `)} LIMIT 1`.execute(db));
  if (any.rows.length === 0) return 0;
  return database.plain(async (db) => {
    const curtailed = await together(
      ...tooLong.map(({ table, where }) =>
        sql`UPDATE ${table} SET lease_until = ${now} WHERE ${where} RETURNING 1`.execute(db),
      ),
    );
    return curtailed.reduce((count, { rows }) => count + rows.length, 0);
  });
}
