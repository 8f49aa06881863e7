import test from 'ava';
import { sql } from 'kysely';
import { Failure } from '../../src/domain/errors.ts';
import { openPostgres } from '../../src/store/kysely/postgres.ts';
import { storeTransactionSuite } from '../contract/store-transaction-suite.ts';
import { until } from '../support/daemon.ts';
import { PostgresServer } from '../support/postgres.ts';
import { postgresWorld } from '../support/store-world.ts';

const server = await PostgresServer.start({ unsafeFast: true });
test.after.always(() => server.close());
const open = postgresWorld(() => server);

storeTransactionSuite(open);

test('HAZARD 16: a COMMIT that PostgreSQL answers with a rollback is not taken for a commit', async (t) => {
  const { database } = await open(t);
  const failed = database.plain(async (db) => {
    await sql`SELECT 1 FROM no_such_table`.execute(db).catch(() => undefined);
  });
  await t.throwsAsync(failed, { message: /postgres-commit-of-failed-transaction/ });
});

test('HAZARD 1: whoever takes a lease from another waits for the change that may be planned under it', async (t) => {
  const world = await open(t);
  const { maintenance, database } = world;
  await maintenance.leaseTake('storage-node', 'one', 60_000);
  await maintenance.leaseDrop('storage-node', 'one');
  const order: string[] = [];
  const { promise: mayEnd, resolve: end } = Promise.withResolvers<void>();
  const { promise: hasBegun, resolve: begun } = Promise.withResolvers<void>();
  const change = database.change(async () => {
    begun();
    await mayEnd;
    order.push('changed');
  });
  await hasBegun;
  const taken = world.another().maintenance.leaseTake('storage-node', 'two', 60_000);
  const told = taken.then((token) => order.push(`taken ${token}`));
  const waits = async () => {
    const { rows } = await sql`SELECT 1 FROM pg_locks WHERE NOT granted`.execute(database.kysely);
    return rows.length > 0 || order.length > 0;
  };
  await until(waits, { what: 'it is taken, or waits' });
  end();
  await Promise.all([change, told]);
  t.deepEqual(order, ['changed', 'taken 2']);
});

test('statements that were prepared before a migration go on after it', async (t) => {
  const { database } = await open(t);
  const kept = () =>
    database.plain(async (db) => (await sql`SELECT * FROM meta WHERE key = ${'store-id'}`.execute(db)).rows);
  const [before] = await kept();
  await sql`ALTER TABLE meta ADD COLUMN added bigint`.execute(database.kysely);
  t.deepEqual(await kept(), [{ ...(before as object), added: null }]);
});

test('a server whose name cannot be resolved is a store that does not answer', async (t) => {
  const fatal = (error: unknown) => t.fail(String(error));
  const database = openPostgres('postgresql://fcr@no-such-host.invalid/fcr', { connectionsMax: 1, fatal });
  t.teardown(() => database.kysely.destroy());
  const error = await t.throwsAsync(
    database.read((db) => sql`SELECT 1`.execute(db)),
    { instanceOf: Failure },
  );
  t.is(error.code, 'store-unavailable');
});
