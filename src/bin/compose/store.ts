import type { Config } from '../../config/config.ts';
import { limits } from '../../config/limits.ts';
import type { Store } from '../../store/store.ts';
import { openStoreThread } from '../../store/thread/store-thread.ts';
import { siblingModule } from '../../system/blocking-pool.ts';
import type { StoreThreadData } from '../store-thread.ts';

/**
 * The store that the configuration names, brought up to date. `onFatal`: it can no longer be trusted.
 *
 * What talks to databases is loaded where it runs: with the embedded store, on that store's thread alone.
 */
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
  const { openPostgresStore } = await import('./postgres-store.ts');
  return openPostgresStore(config.store.url, options, onFatal);
}
