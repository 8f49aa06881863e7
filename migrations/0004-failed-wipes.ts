import { type Kysely, sql } from 'kysely';

/** How often a volume's own medium failed since its last wipe; and, by pool, the returned volumes that are not about to be free. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`ALTER TABLE volumes ADD COLUMN medium_failures bigint NOT NULL DEFAULT 0`.execute(db);
  await sql`CREATE INDEX volumes_failures ON volumes (state, pool) WHERE failure_reason IS NOT NULL`.execute(db);
}
