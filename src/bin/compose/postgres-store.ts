import { limits } from '../../config/limits.ts';
import { groupPlanner } from '../../operations/planner.ts';
import type { JournalOptions } from '../../store/kysely/journal.ts';
import { kyselyStore } from '../../store/kysely/kysely-store.ts';
import { migrate } from '../../store/kysely/migrate.ts';
import { assertDurable, openPostgres } from '../../store/kysely/postgres.ts';
import type { Store } from '../../store/store.ts';

export async function openPostgresStore(
  url: string,
  options: JournalOptions,
  onFatal: (message: string) => void,
): Promise<Store> {
  const database = openPostgres(url, {
    connectionsMax: limits.postgresConnections,
    fatal: (error) => onFatal(error instanceof Error ? error.message : String(error)),
  });
  await assertDurable(database);
  await migrate(database);
  return kyselyStore(database, groupPlanner, options);
}
