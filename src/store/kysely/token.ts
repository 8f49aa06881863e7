/** Access tokens: only hashes are kept. They are no part of what operations see and take no commit number. */

import { Failure } from '../../domain/errors.ts';
import type { Principal, Token } from '../../domain/principal.ts';
import type { HeldKey, NewToken, Page, PageRequest } from '../store.ts';
import type { Connection, Database } from './database.ts';
import { keyKept } from './idempotency.ts';
import { keyBefore, pageOf } from './page.ts';
import { tokenResource } from './rows.ts';
import type { TokenTable } from './schema.ts';
import { sql } from './sql.ts';

/**
 * The same id again with the same hash answers the token that is there. Under a key the id is the key's: what an earlier
 * request made that was never answered gives way, and while the key is another's nothing is made.
 */
export function tokenCreate(database: Database, token: NewToken, key: HeldKey | null): Promise<Token> {
  return database.plain(async (db) => {
    if (key !== null) {
      await keyKept(db, key);
      if (!key.first) await sql`DELETE FROM tokens WHERE id = ${token.id}`.execute(db);
    }
    const { rows } = await sql<TokenTable>`
      INSERT INTO tokens (id, name, hash, role, host, created_at, expires_at)
      VALUES (${token.id}, ${token.name}, ${token.hash}, ${token.role}, ${token.host}, ${database.engine.now},
        ${token.expiresAt})
      ON CONFLICT DO NOTHING RETURNING *`.execute(db);
    const record = rows[0] ?? (await repeated(db, token));
    return tokenResource(record);
  });
}

export function tokenList(database: Database, page: PageRequest): Promise<Page<Token>> {
  return database.read(async (db) => {
    const query = db.selectFrom('tokens').selectAll().where('id', '>', keyBefore(page));
    const found = await query
      .orderBy('id')
      .limit(page.pageSize + 1)
      .execute();
    return pageOf(found, page, { key: ({ id }) => id, show: tokenResource });
  });
}

export function tokenDelete(database: Database, id: string): Promise<void> {
  return database.plain(async (db) => {
    const { numDeletedRows } = await db.deleteFrom('tokens').where('id', '=', id).executeTakeFirst();
    if (numDeletedRows === 0n) throw new Failure('token-not-found', `There is no token "${id}".`);
  });
}

/** Null when no token has the hash, or it has run out by the database's time. */
export async function tokenFind(database: Database, hash: string): Promise<Principal | null> {
  const { rows } = await database.read((db) =>
    sql<TokenTable>`
      SELECT * FROM tokens
      WHERE hash = ${hash} AND (expires_at IS NULL OR expires_at > ${database.engine.now})`.execute(db),
  );
  const record = rows[0];
  if (record === undefined) return null;
  const { id, name, role, host } = tokenResource(record);
  return { id, name, role, host };
}

async function repeated(db: Connection, token: NewToken): Promise<TokenTable> {
  const query = db.selectFrom('tokens').selectAll().where('id', '=', token.id);
  const record = await query.where('hash', '=', token.hash).where('name', '=', token.name).executeTakeFirst();
  if (record !== undefined) return record;
  throw new Failure('name-taken', `A token "${token.name}" exists already.`, { field: 'name' });
}
