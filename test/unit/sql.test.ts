import test from 'ava';
import { DummyDriver, Kysely, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler } from 'kysely';
import { sql } from '../../src/store/kysely/sql.ts';

test('values are parameters, in the order in which they stand', (t) => {
  const statement = sql`SELECT ${1} WHERE a = ${'x'} AND b = ${null}`;
  t.deepEqual(statement.flat(), { texts: ['SELECT ', ' WHERE a = ', ' AND b = ', ''], parameters: [1, 'x', null] });
});

test('SQL inside of SQL becomes part of its text, with its own parameters', (t) => {
  const due = sql`lease < ${7}`;
  const statement = sql`SELECT ${'first'} WHERE (${due}) OR (${due}) LIMIT ${9}`;
  t.deepEqual(statement.flat(), {
    texts: ['SELECT ', ' WHERE (lease < ', ') OR (lease < ', ') LIMIT ', ''],
    parameters: ['first', 7, 7, 9],
  });
});

test('a text that holds SQL remains a parameter', (t) => {
  const { texts, parameters } = sql`SELECT * FROM volumes WHERE name = ${"' OR 1 = 1 --"}`.flat();
  t.deepEqual(texts, ['SELECT * FROM volumes WHERE name = ', '']);
  t.deepEqual(parameters, ["' OR 1 = 1 --"]);
});

test('names are quoted, also those that hold quotes, and columns of a table', (t) => {
  const { texts } = sql`SELECT ${sql.ref('volumes.name')}, ${sql.id('a"b')}`.flat();
  t.deepEqual(texts, ['SELECT "volumes"."name", "a""b"']);
});

test('literals are numbers only', (t) => {
  t.deepEqual(sql`LIMIT ${sql.lit(5)}`.flat().texts, ['LIMIT 5']);
  t.throws(() => sql.lit(Number.NaN), { message: /sql-literal/ });
});

test('a limit is a parameter, but not a bare one', (t) => {
  t.deepEqual(sql`SELECT 1 ${sql.limit(9)}`.flat(), { texts: ['SELECT 1 LIMIT ', ' + 0'], parameters: [9] });
});

test('what is put together once has no parameters', (t) => {
  const names = sql.fixed(sql.join([sql.id('a'), sql.id('b')]));
  t.deepEqual(sql`(${names})`.flat().texts, ['("a", "b")']);
  t.throws(() => sql.fixed(sql`a = ${1}`), { message: /sql-fixed-parameters/ });
});

test('parts are joined by commas, or by what is given', (t) => {
  t.deepEqual(sql`IN (${sql.join([1, sql`2`, 3])})`.flat(), { texts: ['IN (', ', 2, ', ')'], parameters: [1, 3] });
  t.deepEqual(sql.join([sql`a`, sql`b`], sql` AND `).flat().texts, ['a AND b']);
  t.deepEqual(sql`()${sql.join([])}`.flat().texts, ['()']);
});

test('serves as a condition of Kysely’s builder, which numbers its parameters', (t) => {
  const kysely = new Kysely<{ volumes: { id: string; state: string } }>({
    dialect: {
      createAdapter: () => new PostgresAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (db) => new PostgresIntrospector(db),
      createQueryCompiler: () => new PostgresQueryCompiler(),
    },
  });
  const query = kysely
    .selectFrom('volumes')
    .select('id')
    .where('state', '=', 'free')
    .where(sql<boolean>`id > ${'v'} AND id < ${'w'}`);
  t.deepEqual(query.compile().parameters, ['free', 'v', 'w']);
  t.regex(query.compile().sql, /"state" = \$1 and id > \$2 AND id < \$3/);
});
