import test from 'ava';
import { storeHostsSuite } from '../contract/store-hosts-suite.ts';
import { storePoliciesSuite } from '../contract/store-policies-suite.ts';
import { storePoolsSuite } from '../contract/store-pools-suite.ts';
import { PostgresServer } from '../support/postgres.ts';
import { postgresWorld } from '../support/store-world.ts';

const server = await PostgresServer.start({ settings: { max_connections: '400' } });
test.after.always(() => server.close());
const open = postgresWorld(() => server);

storePoolsSuite(open);
storeHostsSuite(open);
storePoliciesSuite(open);
