import test from 'ava';
import { sql } from 'kysely';
import { sqliteWorld } from '../support/store-world.ts';
import { storeClockSuite } from './store-clock-suite.ts';
import { storeEventsSuite } from './store-events-suite.ts';
import { storeHistorySuite } from './store-history-suite.ts';
import { storeHostsSuite } from './store-hosts-suite.ts';
import { storeLoaderSuite } from './store-loader-suite.ts';
import { storePoliciesSuite } from './store-policies-suite.ts';
import { storePoolsSuite } from './store-pools-suite.ts';
import { storeTransactionSuite } from './store-transaction-suite.ts';

const open = sqliteWorld();

storePoolsSuite(open);
storeHostsSuite(open);
storePoliciesSuite(open);
storeEventsSuite(open);
storeClockSuite(open);
storeLoaderSuite(open);
storeTransactionSuite(open);
storeHistorySuite(open, 60);

test('HAZARD 16: every connection to SQLite commits with a full sync, and no other setting can be had', async (t) => {
  const world = await open(t);
  const read = async (name: string) =>
    (await sql<Record<string, unknown>>`PRAGMA ${sql.raw(name)}`.execute(world.database.kysely)).rows[0]?.[name];
  t.is(await read('synchronous'), 2);
  t.is(await read('journal_mode'), 'wal');
});
