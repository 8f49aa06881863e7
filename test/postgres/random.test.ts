import test from 'ava';
import { survivesRandomRequests } from '../contract/random-requests-suite.ts';
import { PostgresServer } from '../support/postgres.ts';

const server = await PostgresServer.start();
test.after.always(() => server.close());

test('1,000 random requests on PostgreSQL: never a 5xx, and a refused one changes nothing', async (t) => {
  t.timeout(600_000);
  const { url, drop } = await server.createDatabase();
  await survivesRandomRequests(t, 1_000, { store: 'postgres', postgresUrl: url });
  await drop();
});
