import { existsSync } from 'node:fs';
import test from 'ava';
import { isRunning } from '../support/daemon.ts';
import { PostgresServer } from '../support/postgres.ts';

test('a PostgreSQL keeps what it committed over a kill and leaves nothing behind', async (t) => {
  const postgres = await PostgresServer.start();
  t.teardown(() => postgres.close());
  const database = await postgres.createDatabase();
  await postgres.query('CREATE TABLE kept AS SELECT 7 AS value', database.name);
  await postgres.restart();
  t.deepEqual(await postgres.query('SELECT value FROM kept', database.name), [{ value: 7 }]);
  postgres.pause();
  postgres.resume();
  t.deepEqual(await postgres.query('SHOW fsync'), [{ fsync: 'on' }]);
  await database.drop();
  const pid = postgres.pid ?? 0;
  await postgres.close();
  t.false(isRunning(pid));
  t.false(existsSync(postgres.directory));
});

test('a PostgreSQL without fsync refuses to be killed, so that it proves nothing about durability', async (t) => {
  const postgres = await PostgresServer.start({ unsafeFast: true });
  t.teardown(() => postgres.close());
  t.deepEqual(await postgres.query('SHOW fsync'), [{ fsync: 'off' }]);
  await t.throwsAsync(postgres.kill(), { message: /without fsync/ });
});
