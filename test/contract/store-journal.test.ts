import { sqliteWorld } from '../support/store-world.ts';
import { storeJournalSuite } from './store-journal-suite.ts';

storeJournalSuite(sqliteWorld());
