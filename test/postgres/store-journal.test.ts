import test from 'ava';
import { storeJournalSuite } from '../contract/store-journal-suite.ts';
import { storeMistakesSuite } from '../contract/store-mistakes-suite.ts';
import { storeWorkersSuite } from '../contract/store-workers-suite.ts';
import { PostgresServer } from '../support/postgres.ts';
import { postgresWorld } from '../support/store-world.ts';

const server = await PostgresServer.start({ unsafeFast: true, settings: { max_connections: '200' } });
test.after.always(() => server.close());

const open = postgresWorld(() => server);
storeJournalSuite(open);
storeMistakesSuite(open);
storeWorkersSuite(open);
