import { type Kysely, sql } from 'kysely';

/** A store that a storage node has worked on has had its first pool, or was never to have one. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`INSERT INTO meta (key, value) SELECT 'first-pool', name FROM storage_nodes ORDER BY name LIMIT 1`.execute(
    db,
  );
}
