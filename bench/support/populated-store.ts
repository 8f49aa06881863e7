import { statSync } from 'node:fs';
import { join } from 'node:path';
import { sql } from 'kysely';
import { newId } from '../../src/domain/ids.ts';
import type { Database } from '../../src/store/kysely/database.ts';
import type { ColumnType } from '../../src/store/kysely/engine.ts';
import { migrate } from '../../src/store/kysely/migrate.ts';
import { flowPolicyColumns, volumeColumns } from '../../src/store/kysely/rows.ts';
import { openSqlite } from '../../src/store/kysely/sqlite.ts';
import { volumeTableRecord } from './volume-table-record.ts';

const chunk = 5_000;

/**
 * An embedded store in which so many volumes have an owner, and as many flow policies are active, as if the service had
 * made them: written in bulk, since making a million through REST would measure something else.
 */
export async function populateStore(dataDirectory: string, count: number): Promise<void> {
  const database = openSqlite(join(dataDirectory, 'store.sqlite'), (error) => {
    throw error;
  });
  try {
    await migrate(database);
    await database.plain(async (db) => {
      await sql`INSERT INTO pools (name, id, backend, storage_node, volume_size_bytes, min_free, max_volumes, filesystem,
        state, version, created_at, allocated) VALUES ('present', ${newId('pool')}, 'file', 'bench-node', ${1024 ** 3}, 0,
        ${count}, 'ext4', 'active', 1, 0, ${count})`.execute(db);
    });
    for (let made = 0; made < count; made += chunk) {
      const size = Math.min(chunk, count - made);
      await insert(
        database,
        'volumes',
        volumeColumns,
        Array.from({ length: size }, (_, index) => volume(made + index)),
      );
      await insert(
        database,
        'flow_policies',
        flowPolicyColumns,
        Array.from({ length: size }, (_, index) => policy(made + index)),
      );
    }
    await database.plain((db) => sql`UPDATE sequences SET value = 1 WHERE name = 'commit'`.execute(db));
  } finally {
    await database.kysely.destroy();
  }
}

export function storeBytes(dataDirectory: string): number {
  return statSync(join(dataDirectory, 'store.sqlite')).size;
}

async function insert(
  database: Database,
  table: string,
  columns: Readonly<Record<string, ColumnType>>,
  rows: readonly object[],
): Promise<void> {
  const names = Object.keys(columns).map((name) => sql.id(name));
  await database.plain((db) =>
    sql`INSERT INTO ${sql.table(table)} (${sql.join(names)})
      SELECT ${sql.join(names)} FROM ${database.engine.rows(rows, columns)} c`.execute(db),
  );
}

function volume(number: number): object {
  const stated = { name: `present-${number}`, pool: 'present', storage_node: 'bench-node', state: 'allocated' };
  return volumeTableRecord({ ...stated, allocated_at: 0 });
}

function policy(number: number): object {
  const digits = number.toString(16).padStart(10, '0');
  return {
    id: newId('flow'),
    initiator_wwpn: `20:00:01:${digits.match(/../g)?.join(':')}`,
    target_wwpn: '',
    namespace: `present-${number}`,
    action: 'permit',
    redirect_to: null,
    qos_policy: null,
    state: 'active',
    held_by: null,
    pending_operation: null,
    created_at: 0,
    version: 1,
  };
}
