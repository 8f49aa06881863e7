import type { Config } from '../../config/config.ts';
import { limits } from '../../config/limits.ts';
import { groupPlanner } from '../../operations/planner.ts';
import { kyselyStore } from '../../store/kysely/kysely-store.ts';
import { migrate } from '../../store/kysely/migrate.ts';
import { assertDurable, openPostgres } from '../../store/kysely/postgres.ts';
import type { Store } from '../../store/store.ts';
import { openStoreThread } from '../../store/thread/store-thread.ts';
import { siblingModule } from '../../system/blocking-pool.ts';
import type { StoreThreadData } from '../store-thread.ts';

/** The store that the configuration names, brought up to date. `onFatal`: it can no longer be trusted. */
export async function openStore(
  config: Pick<Config, 'store' | 'defaultFlowAction'>,
  onFatal: (message: string) => void,
): Promise<Store> {
  const options = {
    backlogOperationsMax: limits.journalBacklogOperations,
    defaultFlowAction: config.defaultFlowAction,
  };
  if (config.store.kind === 'sqlite') {
    const workerData: StoreThreadData = { file: config.store.file, options };
    return openStoreThread({ moduleUrl: siblingModule(import.meta.url, '../store-thread'), workerData, onFatal });
  }
  const database = openPostgres(config.store.url, {
    connectionsMax: limits.postgresConnections,
    fatal: (error) => onFatal(error instanceof Error ? error.message : String(error)),
  });
  await assertDurable(database);
  await migrate(database);
  return kyselyStore(database, groupPlanner, options);
}
