import type { GroupPlanner } from '../group.ts';
import type { IdempotencyStore, JournalStore, MaintenanceStore, ResourceStore, Store } from '../store.ts';
import type { Database } from './database.ts';
import { KyselyIdempotencyStore } from './idempotency.ts';
import { type JournalOptions, KyselyJournalStore } from './journal.ts';
import { KyselyMaintenanceStore } from './maintenance.ts';
import { KyselyResourceStore } from './resources.ts';

/** The store over one database; the planner is handed in, so that nothing here knows what an operation means. */
export function kyselyStore(database: Database, planner: GroupPlanner, options: JournalOptions): Store {
  const journal: JournalStore = bound(new KyselyJournalStore(database, planner, options));
  const idempotency: IdempotencyStore = bound(new KyselyIdempotencyStore(database));
  const maintenance: MaintenanceStore = bound(new KyselyMaintenanceStore(database));
  const resources: ResourceStore = bound(
    new KyselyResourceStore(database, { defaultFlowAction: options.defaultFlowAction }),
  );
  return { ...journal, ...idempotency, ...maintenance, ...resources, close: () => database.kysely.destroy() };
}

/** The object's methods as properties of its own, so that several objects can be laid side by side. */
function bound<T extends object>(target: T): T {
  const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(target)).filter((name) => name !== 'constructor');
  const entries = methods.map((name) => {
    const method: unknown = Reflect.get(target, name);
    return [name, typeof method === 'function' ? method.bind(target) : method] as const;
  });
  return Object.fromEntries(entries) as T;
}
