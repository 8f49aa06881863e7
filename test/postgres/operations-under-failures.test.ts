import { survivesFailuresOfRedis } from '../contract/redis-failures-suite.ts';
import { testOf } from '../support/groups.ts';
import { PostgresServer } from '../support/postgres.ts';

const test = testOf('redis');

test('HAZARDS 7, 16: on PostgreSQL and BullMQ: Redis fails in every way and the database is killed under load: all that was accepted ends, once', async (t) => {
  const server = await PostgresServer.start();
  t.teardown(() => server.close());
  const { url } = await server.createDatabase();
  await survivesFailuresOfRedis(t, {
    store: { FCR_STORE: 'postgres', FCR_POSTGRES_URL: url },
    alsoDo: () => server.restart(),
  });
});
