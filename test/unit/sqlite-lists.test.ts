import test from 'ava';
import SqliteDatabase from 'better-sqlite3';
import { Kysely } from 'kysely';
import type { Schema } from '../../src/store/kysely/schema.ts';
import { preparedDialect } from '../../src/store/kysely/sqlite-driver.ts';
import { listColumn, listTable, SqliteList, SqliteLists } from '../../src/store/kysely/sqlite-lists.ts';

test('a list is a table while its statement runs', (t) => {
  const sqlite = new SqliteDatabase(':memory:');
  const lists = new SqliteLists(sqlite);
  const statement = sqlite.prepare<unknown[]>(`SELECT ${listColumn(0)} AS text FROM ${listTable(1)}(?)`);
  const run = (bound: readonly unknown[]) => statement.all(bound);
  t.deepEqual(lists.during([SqliteList.ofTexts(['one', 'two'])], run), [{ text: 'one' }, { text: 'two' }]);
  t.throws(() => run([0]), { message: /sqlite-list-parameter/ });
});

test('no statement is read row by row: its list would be gone by then, or another one', async (t) => {
  const kysely = new Kysely<Schema>({ dialect: preparedDialect(new SqliteDatabase(':memory:'), () => undefined) });
  t.teardown(() => kysely.destroy());
  const rows = kysely.selectFrom('meta').selectAll().stream();
  await t.throwsAsync(rows.next(), { message: /sqlite-stream/ });
});
