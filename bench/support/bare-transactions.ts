import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Kysely, sql } from 'kysely';
import { newId, newSerial } from '../../src/domain/ids.ts';
import type { Database } from '../../src/store/kysely/database.ts';
import type { ColumnType } from '../../src/store/kysely/engine.ts';
import { migrate } from '../../src/store/kysely/migrate.ts';
import { openPostgres } from '../../src/store/kysely/postgres.ts';
import { volumeColumns } from '../../src/store/kysely/rows.ts';
import type { Schema } from '../../src/store/kysely/schema.ts';
import { openSqlite } from '../../src/store/kysely/sqlite.ts';
import { volumeTableRecord } from './volume-table-record.ts';

/**
 * The limit of the `operations` bench: the row changes that its mix leads to, in the same tables with the same indexes,
 * as bare set-based transactions of the same size and with the same durability, and nothing around them: no request, no
 * thread, no planning, no reading. Answers row changes a second.
 *
 * For n operations: 0.3 n creates and 0.3 n deletes with their wipes (volumes updated 0.3 + 0.3 + 2 x 0.3 n), 0.15 n
 * attaches and 0.15 n detaches (attachments inserted, updated twice, deleted; LUNs taken and freed; volumes updated four
 * times 0.15 n), 0.05 n policies made and removed, n operation rows, and the journal's and the events' rows.
 */
export async function bareTransactions(options: {
  readonly postgresUrl: string | null;
  readonly operations: number;
  readonly seconds: number;
}): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'fcr-bench-bare-'));
  const fatal = (error: unknown) => {
    throw error;
  };
  const database =
    options.postgresUrl === null
      ? openSqlite(join(directory, 'bare.sqlite'), fatal)
      : openPostgres(options.postgresUrl, { connectionsMax: 2, fatal });
  try {
    await migrate(database);
    const bare = new BareGroups(database, options.operations);
    await bare.fill();
    return await rate(bare, options.seconds);
  } finally {
    await database.kysely.destroy();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function rate(bare: BareGroups, seconds: number): Promise<number> {
  await bare.group();
  const before = bare.rows;
  const began = performance.now();
  while (performance.now() - began < seconds * 1_000) await bare.group();
  return (bare.rows - before) / ((performance.now() - began) / 1_000);
}

const volumesPresent = 20_000;
const resourceText = JSON.stringify({ kind: 'volume', filler: 'x'.repeat(520) });

class BareGroups {
  rows = 0;
  readonly #database: Database;
  readonly #operations: number;
  readonly #ids: string[] = [];
  #turn = 0;
  #attached: { id: string; volume_id: string; lun: number }[] = [];
  #policies: { id: string }[] = [];

  constructor(database: Database, operations: number) {
    this.#database = database;
    this.#operations = Math.max(1, operations);
  }

  /** As many volumes as the load has, so that the indexes have their depth. */
  async fill(): Promise<void> {
    for (let made = 0; made < volumesPresent; made += 1_000) {
      const rows = Array.from({ length: 1_000 }, () => volumeTableRecord());
      this.#ids.push(...rows.map(({ id }) => id));
      await this.#commit(async (db) => this.#insert(db, 'volumes', volumeColumns, rows));
    }
  }

  /** One group's row changes, in the transactions that the product needs for them. */
  async group(): Promise<void> {
    this.#turn += 1;
    const n = this.#operations;
    const [creates, attaches, policies] = [Math.round(n * 0.3), Math.round(n * 0.15), Math.round(n * 0.05)];
    await this.#commit((db) => this.#journal(db));
    await this.#commit(async (db) => {
      await this.#volumes(db, creates, { state: 'allocated', name: true });
      await this.#volumes(db, creates, { state: 'wiping', name: false });
      await this.#volumes(db, attaches * 2, { state: 'allocated', name: true });
      await this.#attach(db, attaches);
      await this.#touch(db, this.#attached.slice(0, attaches));
      await this.#replacePolicies(db, policies);
      await this.#outcomes(db, n - 2 * attaches, 0);
      await this.#end(db);
    });
    await this.#commit(async (db) => {
      await this.#touch(db, this.#attached.slice(-attaches));
      await this.#detach(db, attaches);
      await this.#volumes(db, attaches, { state: 'allocated', name: true });
      await this.#outcomes(db, 2 * attaches, n - 2 * attaches);
      await this.#event(db, 2);
    });
    await this.#commit(async (db) => {
      await this.#volumes(db, creates, { state: 'wiping', name: false });
      await this.#event(db, 3);
    });
    await this.#commit(async (db) => {
      await this.#volumes(db, creates, { state: 'free', name: false });
      await this.#event(db, 4);
    });
  }

  async #commit(work: (db: Kysely<Schema>) => Promise<void>): Promise<void> {
    await this.#database.plain(work);
  }

  async #insert(
    db: Kysely<Schema>,
    table: string,
    columns: Readonly<Record<string, ColumnType>>,
    rows: readonly object[],
  ): Promise<void> {
    if (rows.length === 0) return;
    const names = Object.keys(columns).map((name) => sql.id(name));
    await sql`INSERT INTO ${sql.table(table)} (${sql.join(names)})
      SELECT ${sql.join(names)} FROM ${this.#database.engine.rows(rows, columns)} c`.execute(db);
    this.rows += rows.length;
  }

  async #volumes(db: Kysely<Schema>, count: number, { state, name }: { state: string; name: boolean }): Promise<void> {
    if (count === 0) return;
    const rows = Array.from({ length: count }, (_, index) => {
      const id = this.#ids[(this.#turn * 4_001 + index * 3) % volumesPresent] ?? '';
      return { id, name: name ? `${id}-${this.#turn}` : null, state, generation: this.#turn };
    });
    const unique = [...new Map(rows.map((row) => [row.id, row])).values()];
    const list = this.#database.engine.rows(unique, { id: 'text', name: 'text', state: 'text', generation: 'bigint' });
    await sql`UPDATE volumes AS t SET name = c.name, state = c.state, generation = c.generation, version = t.version + 1
      FROM ${list} c WHERE t.id = c.id`.execute(db);
    this.rows += unique.length;
  }

  async #attach(db: Kysely<Schema>, count: number): Promise<void> {
    const made = Array.from({ length: count }, (_, index) => ({
      id: newId('att'),
      volume_id: newId('vol'),
      lun: (this.#turn * count + index) % 16_000,
    }));
    this.#attached.push(...made);
    const paths = JSON.stringify([
      { initiatorWwpn: '20:00:00:00:00:00:00:01', targetWwpn: '20:00:00:00:00:00:00:02', lun: 1 },
    ]);
    const rows = made.map(({ id, volume_id }) => ({ ...attachmentFields, id, volume_id, paths }));
    await this.#insert(db, 'attachments', attachmentColumns, rows);
    await this.#luns(
      db,
      made.map(({ id, lun }) => ({ lun, attachment: id })),
    );
  }

  async #luns(db: Kysely<Schema>, luns: readonly { lun: number; attachment: string | null }[]): Promise<void> {
    if (luns.length === 0) return;
    const list = this.#database.engine.rows(luns, { lun: 'bigint', attachment: 'text' });
    await sql`INSERT INTO luns (initiator_wwpn, target_wwpn, lun, attachment)
      SELECT '20:00:00:00:00:00:00:01', '20:00:00:00:00:00:00:02', c.lun, c.attachment FROM ${list} c WHERE true
      ON CONFLICT (initiator_wwpn, target_wwpn, lun) DO UPDATE SET attachment = excluded.attachment`.execute(db);
    this.rows += luns.length;
  }

  async #touch(db: Kysely<Schema>, attached: readonly { id: string }[]): Promise<void> {
    if (attached.length === 0) return;
    const list = this.#database.engine.rows(
      attached.map(({ id }) => ({ id, generation: this.#turn })),
      { id: 'text', generation: 'bigint' },
    );
    await sql`UPDATE attachments AS t SET generation = c.generation, version = t.version + 1 FROM ${list} c WHERE t.id = c.id`.execute(
      db,
    );
    this.rows += attached.length;
  }

  async #detach(db: Kysely<Schema>, count: number): Promise<void> {
    const gone = this.#attached.splice(0, count);
    await sql`DELETE FROM attachments WHERE id IN ${this.#database.engine.texts(gone.map(({ id }) => id))}`.execute(db);
    this.rows += gone.length;
    await this.#luns(
      db,
      gone.map(({ lun }) => ({ lun, attachment: null })),
    );
  }

  async #replacePolicies(db: Kysely<Schema>, count: number): Promise<void> {
    const gone = this.#policies.splice(0, count);
    await sql`DELETE FROM flow_policies WHERE id IN ${this.#database.engine.texts(gone.map(({ id }) => id))}`.execute(
      db,
    );
    const made = Array.from({ length: count }, () => ({ ...policyFields, id: newId('flow'), namespace: newSerial() }));
    this.#policies.push(...made);
    await this.#insert(db, 'flow_policies', policyColumns, made);
    this.rows += gone.length;
  }

  async #outcomes(db: Kysely<Schema>, count: number, from: number): Promise<void> {
    const batch = newId('bat');
    const rows = Array.from({ length: count }, (_, index) => ({
      ...operationFields,
      position: this.#turn * 1_000_000 + from + index,
      batch,
      resource: resourceText,
    }));
    await this.#insert(db, 'operations', operationColumns, rows);
  }

  async #journal(db: Kysely<Schema>): Promise<void> {
    const batches = Math.max(1, Math.round(this.#operations / 100));
    const operations = JSON.stringify(
      Array.from({ length: 100 }, () => ({ type: 'volume.create', params: { name: 'bench-1234567', pool: 'bench' } })),
    );
    const rows = Array.from({ length: batches }, (_, index) => ({
      ...batchFields,
      seq: this.#turn * 1_000 + index,
      id: newId('bat'),
      operations,
    }));
    await this.#insert(db, 'batches', batchColumns, rows);
  }

  async #end(db: Kysely<Schema>): Promise<void> {
    const from = this.#turn * 1_000;
    await sql`UPDATE batches SET state = 'ended', ready = 0 WHERE seq >= ${from} AND seq < ${from + 1_000}`.execute(db);
    this.rows += Math.max(1, Math.round(this.#operations / 100));
    await this.#event(db, 1);
  }

  async #event(db: Kysely<Schema>, part: number): Promise<void> {
    const items = JSON.stringify(
      Array.from({ length: Math.ceil(this.#operations / 3) }, () => [
        'volume',
        newVolumeId,
        'bench-1234567',
        'allocated',
      ]),
    );
    await sql`INSERT INTO events (commit_number, at, items) VALUES (${this.#turn * 10 + part}, 0, ${items})`.execute(
      db,
    );
    this.rows += 1;
  }
}

const newVolumeId = newId('vol');

const attachmentFields = {
  host: 'bench-host-1',
  storage_node: 'bench',
  access_mode: 'single-writer',
  namespace: null,
  state: 'exporting',
  host_side: 'none',
  epoch: 1,
  generation: 1,
  media_generation: 1,
  lease_until: 0,
  changed_at_commit: 1,
  created_at: 0,
  version: 1,
};
const attachmentColumns = {
  id: 'text',
  volume_id: 'text',
  host: 'text',
  storage_node: 'text',
  access_mode: 'text',
  namespace: 'text',
  state: 'text',
  host_side: 'text',
  epoch: 'bigint',
  generation: 'bigint',
  media_generation: 'bigint',
  paths: 'text',
  lease_until: 'bigint',
  changed_at_commit: 'bigint',
  created_at: 'bigint',
  version: 'bigint',
} as const;

const policyFields = {
  initiator_wwpn: '20:00:00:00:00:00:00:01',
  target_wwpn: '',
  action: 'permit',
  state: 'active',
  created_at: 0,
  version: 1,
};
const policyColumns = {
  id: 'text',
  initiator_wwpn: 'text',
  target_wwpn: 'text',
  namespace: 'text',
  action: 'text',
  state: 'text',
  created_at: 'bigint',
  version: 'bigint',
} as const;

const operationFields = {
  type: 'volume.create',
  state: 'succeeded',
  existing: 0,
  principal: 'bench',
  accepted_at: 0,
  ended_at: 0,
};
const operationColumns = {
  position: 'bigint',
  batch: 'text',
  type: 'text',
  state: 'text',
  resource: 'text',
  existing: 'bigint',
  principal: 'text',
  accepted_at: 'bigint',
  ended_at: 'bigint',
} as const;

const batchFields = {
  state: 'accepted',
  atomicity: 'per-operation',
  operation_count: 100,
  principal: 'bench',
  ready: 1,
  lease_until: 0,
  accepted_at: 0,
};
const batchColumns = {
  seq: 'bigint',
  id: 'text',
  state: 'text',
  atomicity: 'text',
  operations: 'text',
  operation_count: 'bigint',
  principal: 'text',
  ready: 'bigint',
  lease_until: 'bigint',
  accepted_at: 'bigint',
} as const;
