import { sqliteWorld } from '../support/store-world.ts';
import { storeHostsSuite } from './store-hosts-suite.ts';
import { storePoliciesSuite } from './store-policies-suite.ts';
import { storePoolsSuite } from './store-pools-suite.ts';

const open = sqliteWorld();

storePoolsSuite(open);
storeHostsSuite(open);
storePoliciesSuite(open);
