import test from 'ava';
import { operationChaosSuite } from '../contract/operation-chaos-suite.ts';
import { PostgresServer } from '../support/postgres.ts';
import { postgresWorld } from '../support/store-world.ts';

const server = await PostgresServer.start({ unsafeFast: true, settings: { max_connections: '200' } });
test.after.always(() => server.close());

// A history has a database of its own, and each is dropped only at the end of the test.
operationChaosSuite(
  postgresWorld(() => server, 32),
  12,
);
