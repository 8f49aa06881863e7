/** A database that does not answer, and replicas that stop within a transaction. */
import type { ExecutionContext } from 'ava';
import { Failure } from '../../src/domain/errors.ts';
import type { Database } from '../../src/store/kysely/database.ts';
import { migrate } from '../../src/store/kysely/migrate.ts';
import { openPostgres, type PostgresOptions } from '../../src/store/kysely/postgres.ts';
import { sql } from '../../src/store/kysely/sql.ts';
import { until } from '../support/daemon.ts';
import { testOf } from '../support/groups.ts';
import { PostgresServer } from '../support/postgres.ts';

const test = testOf('postgres');

async function start(t: ExecutionContext) {
  const server = await PostgresServer.start({ unsafeFast: true });
  t.teardown(() => server.close());
  const { url } = await server.createDatabase();
  const open = (options: Partial<PostgresOptions>) => {
    const database = openPostgres(url, { connectionsMax: 2, fatal: (error) => t.fail(String(error)), ...options });
    t.teardown(() => database.kysely.destroy());
    return database;
  };
  await migrate(open({}));
  return { server, open };
}

const one = (database: Database) => database.read((db) => sql`SELECT 1`.execute(db));

test('HAZARD 16: a database that falls silent does not answer, instead of keeping who asks for ever', async (t) => {
  const { server, open } = await start(t);
  const database = open({ answerMs: 300 });
  await one(database);
  server.pause();
  t.teardown(() => server.resume());
  const error = await t.throwsAsync(one(database), { instanceOf: Failure });
  t.is(error.code, 'store-unavailable');
  const changed = await t.throwsAsync(
    database.change(async () => undefined),
    { instanceOf: Failure },
  );
  t.is(changed.code, 'store-unavailable');
  server.resume();
  await until(async () => (await one(database).catch(() => null)) !== null, { what: 'the database answers again' });
});

test('HAZARD 16: a replica that stops within its change does not stop the others', async (t) => {
  const { open } = await start(t);
  const paused = open({ idleInTransactionMs: 300 });
  const { promise: hasBegun, resolve: begun } = Promise.withResolvers<void>();
  const { promise: mayGoOn, resolve: goOn } = Promise.withResolvers<void>();
  const change = paused.change(async () => {
    begun();
    await mayGoOn;
  });
  const refused = t.throwsAsync(change, { instanceOf: Failure });
  await hasBegun;
  await t.notThrowsAsync(open({}).change(async () => undefined));
  goOn();
  t.is((await refused).code, 'store-unavailable');
});
