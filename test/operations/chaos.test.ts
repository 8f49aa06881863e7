import { operationChaosSuite } from '../contract/operation-chaos-suite.ts';
import { sqliteWorld } from '../support/store-world.ts';

operationChaosSuite(sqliteWorld(), 30);
