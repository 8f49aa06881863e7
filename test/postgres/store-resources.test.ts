import test from 'ava';
import { openPostgresStore } from '../../src/bin/compose/postgres-store.ts';
import { Failure } from '../../src/domain/errors.ts';
import { assertDurable, openPostgres } from '../../src/store/kysely/postgres.ts';
import { storeClockSuite } from '../contract/store-clock-suite.ts';
import { storeEventsSuite } from '../contract/store-events-suite.ts';
import { storeHistorySuite } from '../contract/store-history-suite.ts';
import { storeHostsSuite } from '../contract/store-hosts-suite.ts';
import { storeLoaderSuite } from '../contract/store-loader-suite.ts';
import { storePoliciesSuite } from '../contract/store-policies-suite.ts';
import { storePoolsSuite } from '../contract/store-pools-suite.ts';
import { PostgresServer } from '../support/postgres.ts';
import { postgresWorld } from '../support/store-world.ts';

const server = await PostgresServer.start({ unsafeFast: true, settings: { max_connections: '200' } });
test.after.always(() => server.close());
const open = postgresWorld(() => server);

storePoolsSuite(open);
storeHostsSuite(open);
storePoliciesSuite(open);
storeEventsSuite(open);
storeClockSuite(open);
storeLoaderSuite(open);
storeHistorySuite(open, 12);

test.serial('a store that is refused leaves no connection behind', async (t) => {
  const { name, url } = await server.createDatabase();
  const options = { backlogOperationsMax: 1, defaultFlowAction: 'permit' } as const;
  await t.throwsAsync(openPostgresStore(url, options, t.fail), { message: /off; committed work could be lost/ });
  // PostgreSQL removes no database that somebody is connected to.
  await t.notThrowsAsync(server.query(`DROP DATABASE ${name}`));
});

for (const name of ['fsync', 'synchronous_commit', 'full_page_writes']) {
  test.serial(`HAZARDS 16: a PostgreSQL with ${name} off is refused`, async (t) => {
    const unsafe = await PostgresServer.start({ settings: { [name]: 'off' } });
    t.teardown(() => unsafe.close());
    const { url } = await unsafe.createDatabase();
    const database = openPostgres(url, { connectionsMax: 1, fatal: (error) => t.fail(String(error)) });
    t.teardown(() => database.kysely.destroy());
    await t.throwsAsync(assertDurable(database), { message: new RegExp(`${name} = off`) });
  });
}

for (const [what, urlOf, words] of [
  ['without the database', () => server.url('nobodys'), /database "nobodys" does not exist/],
  ['that is not there', () => 'postgresql://postgres@localhost/fcr?host=/nonexistent', /connect ENOENT \/nonexistent/],
] as const) {
  test.serial(`a PostgreSQL ${what} is told in its own words`, async (t) => {
    const database = openPostgres(urlOf(), { connectionsMax: 1, fatal: (error) => t.fail(String(error)) });
    t.teardown(() => database.kysely.destroy());
    await t.throwsAsync(assertDurable(database), { instanceOf: Failure, message: words });
  });
}
