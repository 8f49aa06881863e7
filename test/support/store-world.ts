/**
 * A store with its schema, and what operations would have done to it: the planner is not here, so allocations, returns
 * and attachments are written as it writes them, with the pools' counters, in one commit each.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { sql } from 'kysely';
import type { AttachmentState, HostSide } from '../../src/domain/attachment.ts';
import { assert, type ErrorCode, Failure } from '../../src/domain/errors.ts';
import { newId } from '../../src/domain/ids.ts';
import type { Principal } from '../../src/domain/principal.ts';
import type { Database } from '../../src/store/kysely/database.ts';
import { KyselyMaintenanceStore } from '../../src/store/kysely/maintenance.ts';
import { migrate } from '../../src/store/kysely/migrate.ts';
import { deltasOf, poolCountsApply } from '../../src/store/kysely/pool-counts.ts';
import { openPostgres } from '../../src/store/kysely/postgres.ts';
import { KyselyResourceStore } from '../../src/store/kysely/resources.ts';
import { openSqlite } from '../../src/store/kysely/sqlite.ts';
import type { HostRegistration, NewPool, VolumeSettle } from '../../src/store/store.ts';
import type { PostgresServer } from './postgres.ts';

export type OpenWorld = (t: ExecutionContext) => Promise<StoreWorld>;

export const admin: Principal = { id: 'admin', name: 'admin', role: 'admin', host: null };
export const firstPage = { pageSize: 100, pageToken: null };

export function sqliteWorld(): OpenWorld {
  return (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'fcr-store-'));
    t.teardown(() => rmSync(directory, { recursive: true, force: true }));
    return openWorld(t, () => openSqlite(join(directory, 'store.db'), fatal));
  };
}

/** Tests of a file begin all at once; so many connections would time out on a busy machine. */
const worldsAtOnce = 8;

export function postgresWorld(server: () => PostgresServer, atOnce = worldsAtOnce): OpenWorld {
  const turns = new Turns(atOnce);
  return async (t) => {
    await turns.take();
    t.teardown(() => turns.give());
    const { url, drop } = await server().createDatabase();
    t.teardown(drop);
    return openWorld(t, () => openPostgres(url, { connectionsMax: 4, fatal }));
  };
}

class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(free: number) {
    this.#free = free;
  }

  async take(): Promise<void> {
    if (this.#free === 0) return new Promise((resolve) => this.#waiting.push(resolve));
    this.#free -= 1;
  }

  give(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  }
}

function fatal(error: unknown): void {
  throw error;
}

async function openWorld(t: ExecutionContext, open: () => Database): Promise<StoreWorld> {
  const database = open();
  t.teardown(() => database.kysely.destroy());
  await migrate(database);
  return new StoreWorld(t, database, open);
}

export class StoreWorld {
  readonly database: Database;
  readonly resources: KyselyResourceStore;
  readonly maintenance: KyselyMaintenanceStore;
  readonly #t: ExecutionContext;
  readonly #open: () => Database;

  constructor(t: ExecutionContext, database: Database, open: () => Database) {
    this.#t = t;
    this.#open = open;
    this.database = database;
    this.resources = new KyselyResourceStore(database, { defaultFlowAction: 'permit' });
    this.maintenance = new KyselyMaintenanceStore(database);
  }

  /** The same store as another replica has it; SQLite's has one process, which calls it from many places at once. */
  another(): StoreWorld {
    if (this.database.engine.name === 'sqlite') return this;
    const database = this.#open();
    this.#t.teardown(() => database.kysely.destroy());
    return new StoreWorld(this.#t, database, this.#open);
  }

  async node(name = 'node'): Promise<void> {
    await this.resources.storageNodeRegister({
      name,
      exporter: 'local',
      backends: ['file'],
      canFence: false,
      targetPorts: [],
    });
  }

  async pool(change: Partial<NewPool> = {}): Promise<NewPool> {
    await this.node();
    const pool = { ...poolDefaults, ...change };
    await this.resources.poolCreate(pool);
    return pool;
  }

  /** A pool that is filled up to its minimum; answers the ids of its free volumes. */
  async filledPool(change: Partial<NewPool> = {}): Promise<string[]> {
    const { name, minFree } = await this.pool(change);
    const effects = await this.maintenance.refillReserve(name, minFree);
    await this.maintenance.refillSettle(effects.map(({ request }) => done(request)));
    return effects.map(({ request }) => request.volumeId);
  }

  /** As `volume.create` does. */
  async allocate(id: string, name: string): Promise<void> {
    await this.move({ id, from: 'free', to: 'allocated' }, sql`name = ${name}`);
  }

  /** As `volume.delete` does. */
  async giveBack(id: string): Promise<void> {
    await this.move({ id, from: 'allocated', to: 'wiping' }, sql`name = NULL, lease_until = 0`);
  }

  async move(
    { id, from, to }: { id: string; from: 'free' | 'allocated' | 'wiping'; to: 'allocated' | 'wiping' | 'failed' },
    also: ReturnType<typeof sql>,
  ): Promise<void> {
    await this.database.change(async (tx) => {
      const { rows } = await sql<{ pool: string | null }>`
        UPDATE volumes SET state = ${to}, generation = ${tx.commit}, version = version + 1, ${also}
        WHERE id = ${id} AND state = ${from} RETURNING pool`.execute(tx.db);
      const [row] = rows;
      assert(row !== undefined, 'test-volume-move');
      await poolCountsApply(tx.db, tx.engine, deltasOf([{ pool: row.pool, from, to }]));
    });
  }

  async host(change: Partial<HostRegistration> = {}): Promise<HostRegistration> {
    const host = { ...hostDefaults, ...change };
    await this.resources.hostRegister(host, admin);
    return host;
  }

  /** An attachment as `volume.attach` leaves it. */
  async attach(volume: string, change: Partial<AttachmentFields> = {}): Promise<string> {
    const id = newId('att');
    const fields = { ...attachmentDefaults, ...change };
    await this.database.change(async (tx) => {
      await sql`UPDATE volumes SET epoch = epoch + 1, writer = ${id} WHERE id = ${volume}`.execute(tx.db);
      await sql`
        INSERT INTO attachments (id, volume_id, host, storage_node, access_mode, namespace, state, host_side, host_boot_id,
          epoch, generation, media_generation, paths, held_by, pending_operation, effect, lease_until, problem, proof,
          changed_at_commit, created_at, version)
        SELECT ${id}, id, ${fields.host}, storage_node, 'single-writer', NULL, ${fields.state}, ${fields.hostSide},
          ${fields.bootId}, epoch, ${tx.commit}, media_generation, '[]', ${fields.heldBy}, ${fields.pendingOperation}, NULL,
          0, NULL, NULL, ${tx.commit}, 0, 1 FROM volumes WHERE id = ${volume}`.execute(tx.db);
    });
    return id;
  }

  async detach(id: string): Promise<void> {
    await this.database.change(async (tx) => {
      await sql`UPDATE volumes SET writer = NULL WHERE writer = ${id}`.execute(tx.db);
      await sql`DELETE FROM attachments WHERE id = ${id}`.execute(tx.db);
    });
  }

  /** A batch of one operation in the journal. */
  async batch(change: { readonly state?: string; readonly endedMsAgo?: number } = {}): Promise<string> {
    const id = newId('batch');
    const { now } = this.database.engine;
    const endedAt = change.endedMsAgo === undefined ? sql`NULL` : sql`${now} - ${sql.lit(change.endedMsAgo)}`;
    await this.database.plain(async (db) => {
      const { rows } = await sql<{ value: number }>`
        UPDATE sequences SET value = value + 1 WHERE name = 'journal' RETURNING value`.execute(db);
      const seq = rows[0]?.value ?? 0;
      const state = change.state ?? 'running';
      await sql`INSERT INTO batches (seq, id, state, atomicity, operations, operation_count, principal, ready, lease_until,
          accepted_at, ended_at)
        VALUES (${seq}, ${id}, ${state}, 'per-operation', '[]', 1, 'admin', 0, 0, 0, ${endedAt})`.execute(db);
      await sql`INSERT INTO operations (position, batch, type, state, existing, principal, accepted_at, ended_at)
        VALUES (${seq * 1000}, ${id}, 'volume.delete', 'succeeded', 0, 'admin', 0, 0)`.execute(db);
      await sql`INSERT INTO idempotency (principal, route, key, body_hash, batch, created_at)
        VALUES ('admin', '/v1/volumes', ${id}, '', ${id}, 0)`.execute(db);
    });
    return id;
  }

  async isReady(batch: string): Promise<boolean> {
    const { rows } = await sql<{ ready: number }>`SELECT ready FROM batches WHERE id = ${batch}`.execute(
      this.database.kysely,
    );
    return rows[0]?.ready === 1;
  }

  /** The commit number: what wrote nothing leaves it as it is. */
  async commit(): Promise<number> {
    return (await this.maintenance.storeStamp()).highestGeneration;
  }

  /** Lets the leases of volumes run out. */
  async expireLeases(): Promise<void> {
    await sql`UPDATE volumes SET lease_until = 0`.execute(this.database.kysely);
  }

  /** Counters that differ from the counts of their volumes, as text; empty when all is well. */
  async miscounts(): Promise<string[]> {
    const { rows } = await sql<{ name: string }>`
      SELECT name FROM pools WHERE ${sql.join(
        counted.map(
          (state) => sql`${sql.id(state)} <> (
          SELECT count(*) FROM volumes WHERE volumes.pool = pools.name AND volumes.state = ${state})`,
        ),
        sql` OR `,
      )}`.execute(this.database.kysely);
    return rows.map(({ name }) => name);
  }
}

export const counted = ['provisioning', 'free', 'allocated', 'wiping', 'failed', 'retired'] as const;

interface AttachmentFields {
  readonly host: string;
  readonly state: AttachmentState;
  readonly hostSide: HostSide;
  readonly bootId: string | null;
  readonly heldBy: string | null;
  readonly pendingOperation: string | null;
}

const attachmentDefaults: AttachmentFields = {
  host: 'host1',
  state: 'exported',
  hostSide: 'none',
  bootId: null,
  heldBy: null,
  pendingOperation: null,
};

const poolDefaults: NewPool = {
  name: 'pool',
  backend: 'file',
  volumeSizeBytes: 16 * 1024 * 1024,
  minFree: 3,
  maxVolumes: 10,
  filesystem: 'ext4',
};

export const initiatorPort = {
  wwpn: '20:00:02:00:00:00:00:a0',
  fabric: 'local',
  state: 'online',
  synthesized: true,
} as const;

const hostDefaults: HostRegistration = {
  name: 'host1',
  machineId: 'machine1',
  bootId: 'boot1',
  simulated: true,
  initiatorPorts: [initiatorPort],
};

interface Issued {
  readonly volumeId: string;
  readonly generation: number;
}

export function done({ volumeId, generation }: Issued): VolumeSettle {
  return { volumeId, generation, result: { ok: true, formatted: true } };
}

export function wiped({ volumeId, generation }: Issued): VolumeSettle {
  const proof = { method: 'simulated', verifiedBytes: 1, generation } as const;
  return { volumeId, generation, result: { ok: true, formatted: true, proof } };
}

export function failed({ volumeId, generation }: Issued, quarantine = false, mediumFailures = 0): VolumeSettle {
  const problem = { code: 'device-busy', detail: 'It is still in use.' } as const;
  return { volumeId, generation, result: { ok: false, problem, quarantine, mediumFailures } };
}

/** The catalogue's code with which the work was refused. */
export async function refusal(work: Promise<unknown>): Promise<ErrorCode | 'it was not refused'> {
  try {
    await work;
    return 'it was not refused';
  } catch (error) {
    if (error instanceof Failure) return error.code;
    throw error;
  }
}
