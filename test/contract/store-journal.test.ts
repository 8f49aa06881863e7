import { sqliteWorld } from '../support/store-world.ts';
import { storeJournalSuite } from './store-journal-suite.ts';
import { storeMistakesSuite } from './store-mistakes-suite.ts';
import { storeWorkersSuite } from './store-workers-suite.ts';

const open = sqliteWorld();
storeJournalSuite(open);
storeMistakesSuite(open);
storeWorkersSuite(open);
