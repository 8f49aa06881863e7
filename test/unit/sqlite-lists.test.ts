import test from 'ava';
import SqliteDatabase from 'better-sqlite3';
import { listColumn, listTable, SqliteList, SqliteLists } from '../../src/store/kysely/sqlite-lists.ts';

const list = SqliteList.ofTexts(['one', 'two']);

function statement() {
  const sqlite = new SqliteDatabase(':memory:');
  return new SqliteLists(sqlite).statement(sqlite.prepare(`SELECT ${listColumn(0)} AS text FROM ${listTable(1)}(?)`));
}

test('a list is a table while its statement runs', (t) => {
  t.deepEqual(statement().all([list]), [{ text: 'one' }, { text: 'two' }]);
});

test('a statement with a list is not read row by row: its list would be gone, or another one', (t) => {
  t.throws(() => statement().iterate([list]), { message: /sqlite-list-iterated/ });
});
