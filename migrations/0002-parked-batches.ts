import { type Kysely, sql } from 'kysely';

/** Why a batch cannot be carried on at present; NULL for nearly all. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`ALTER TABLE batches ADD COLUMN parked text`.execute(db);
  await sql`CREATE INDEX batches_parked ON batches (seq) WHERE parked IS NOT NULL`.execute(db);
}
