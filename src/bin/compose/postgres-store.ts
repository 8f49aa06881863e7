import { limits } from '../../config/limits.ts';
import { groupPlanner } from '../../operations/planner.ts';
import type { JournalOptions } from '../../store/kysely/journal.ts';
import { kyselyStore } from '../../store/kysely/kysely-store.ts';
import { migrate } from '../../store/kysely/migrate.ts';
import { assertDurable, openPostgres } from '../../store/kysely/postgres.ts';
import type { Store } from '../../store/store.ts';
import { Closers } from './closers.ts';

/** Where it cannot be opened, its connections are closed: a server has few, and a program that is refused has to end. */
export function openPostgresStore(
  url: string,
  options: JournalOptions,
  onFatal: (message: string) => void,
): Promise<Store> {
  return Closers.over(async (closers) => {
    const database = openPostgres(url, {
      connectionsMax: limits.postgresConnections,
      fatal: (error) => onFatal(error instanceof Error ? error.message : String(error)),
    });
    closers.add(() => database.kysely.destroy());
    await assertDurable(database);
    await migrate(database);
    return kyselyStore(database, groupPlanner, options);
  });
}
