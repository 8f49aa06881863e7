/** Transactions whose statements are sent without waiting for each other. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import test from 'ava';
import { type Kysely, sql } from 'kysely';
import { together } from '../../src/store/kysely/database.ts';
import type { Schema } from '../../src/store/kysely/schema.ts';
import type { OpenWorld } from '../support/store-world.ts';

function put(db: Kysely<Schema>, key: string, value: string): Promise<unknown> {
  return sql`INSERT INTO meta (key, value) VALUES (${key}, ${value})`.execute(db);
}

function set(db: Kysely<Schema>, key: string, value: string): Promise<unknown> {
  return sql`UPDATE meta SET value = ${value} WHERE key = ${key}`.execute(db);
}

async function found(db: Kysely<Schema>): Promise<unknown> {
  const { rows } = await sql`SELECT key, value FROM meta WHERE key <> 'store-id' ORDER BY key`.execute(db);
  return rows;
}

export function storeTransactionSuite(open: OpenWorld): void {
  test('statements that are sent together are run in the order of the calls', async (t) => {
    const { database } = await open(t);
    const values = Array.from({ length: 50 }, (_, index) => String(index));
    await database.plain((db) => together(put(db, 'a', 'first'), ...values.map((value) => set(db, 'a', value))));
    t.deepEqual(await database.read(found), [{ key: 'a', value: '49' }]);
  });

  test('where one of several statements fails, nothing of the transaction is kept, nor of what goes on beside it', async (t) => {
    const { database } = await open(t);
    let beside: Promise<unknown> = Promise.resolve();
    const goesOn = async (db: Kysely<Schema>) => {
      await put(db, 'c', 'before the failure');
      for (let turn = 0; turn < 100; turn += 1) await nextTurn();
      await put(db, 'd', 'after the failure');
    };
    const failed = database.plain((db) => {
      beside = goesOn(db);
      return together(beside, put(db, 'a', 'one'), put(db, 'a', 'two'), put(db, 'b', 'three'));
    });
    await t.throwsAsync(failed, { message: /unique/i });
    await Promise.allSettled([beside]);
    t.deepEqual(await database.read(found), []);
    await database.plain((db) => put(db, 'a', 'later'));
    t.deepEqual(await database.read(found), [{ key: 'a', value: 'later' }]);
  });

  test('HAZARD 2: a store that issues a commit number again is not written to any more by whoever saw it', async (t) => {
    const { database } = await open(t);
    const change = (key: string) => database.change(({ db }) => put(db, key, 'kept'));
    for (const key of ['a', 'b']) await change(key);
    await database.plain((db) => sql`DELETE FROM events`.execute(db));
    await database.plain((db) => sql`UPDATE sequences SET value = value - 1 WHERE name = 'commit'`.execute(db));
    await t.throwsAsync(change('c'), { message: /fell behind/ });
    const kept = ['a', 'b'].map((key) => ({ key, value: 'kept' }));
    t.deepEqual(await database.read(found), kept);
    await database.plain((db) => sql`UPDATE sequences SET value = value + 1 WHERE name = 'commit'`.execute(db));
    await t.throwsAsync(
      database.change(async () => {
        throw new Error('rolled back');
      }),
      { message: 'rolled back' },
    );
    await t.notThrowsAsync(change('c'));
  });
}
