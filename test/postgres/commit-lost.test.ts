/** A connection that ends while a COMMIT is under way, between PostgreSQL and the journal. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { newId } from '../../src/domain/ids.ts';
import { groupPlanner } from '../../src/operations/planner.ts';
import { KyselyJournalStore } from '../../src/store/kysely/journal.ts';
import { migrate } from '../../src/store/kysely/migrate.ts';
import { openPostgres } from '../../src/store/kysely/postgres.ts';
import type { NewBatch } from '../../src/store/store.ts';
import { permit } from '../support/operation-world.ts';
import { PostgresServer } from '../support/postgres.ts';
import { admin, refusal } from '../support/store-world.ts';

const server = await PostgresServer.start({ unsafeFast: true });
test.after.always(() => server.close());

const socketName = '.s.PGSQL.5432';

/** Stands between, and cuts the connection over which the next COMMIT goes: before it gets there, or before its answer. */
class Cutter {
  readonly directory = mkdtempSync(join(tmpdir(), 'fcr-cutter-'));
  cuts: 'before' | 'after' | 'after, and no new connection' | null = null;
  cutsDone = 0;
  #refuses = false;
  readonly #server = createServer((client) => this.#join(client, createConnection(join(server.directory, socketName))));

  static async open(t: ExecutionContext): Promise<Cutter> {
    const cutter = new Cutter();
    await new Promise<void>((resolve) => cutter.#server.listen(join(cutter.directory, socketName), resolve));
    t.teardown(() => {
      cutter.#server.close();
      rmSync(cutter.directory, { recursive: true, force: true });
    });
    return cutter;
  }

  heal(): void {
    this.#refuses = false;
  }

  #join(client: Socket, postgres: Socket): void {
    const end = () => {
      client.destroy();
      postgres.destroy();
    };
    for (const socket of [client, postgres]) socket.on('error', end).on('close', end);
    if (this.#refuses) end();
    let cutting = false;
    client.on('data', (chunk) => {
      const { cuts } = this;
      if (cuts === null || !chunk.includes('COMMIT')) {
        postgres.write(chunk);
        return;
      }
      this.cuts = null;
      this.cutsDone += 1;
      if (cuts === 'before') {
        end();
        return;
      }
      cutting = true;
      this.#refuses = cuts === 'after, and no new connection';
      postgres.write(chunk);
    });
    postgres.on('data', (chunk) => {
      if (cutting) end();
      else client.write(chunk);
    });
  }
}

async function openJournal(t: ExecutionContext) {
  const cutter = await Cutter.open(t);
  const { url, drop } = await server.createDatabase();
  const through = url.replace(encodeURIComponent(server.directory), encodeURIComponent(cutter.directory));
  const fatal = (error: unknown) => t.fail(String(error));
  const database = openPostgres(through, { connectionsMax: 4, fatal });
  t.teardown(async () => {
    await database.kysely.destroy();
    await drop();
  });
  await migrate(database);
  const options = { backlogOperationsMax: 1_000, defaultFlowAction: 'permit' } as const;
  return { cutter, journal: new KyselyJournalStore(database, groupPlanner, options) };
}

function newBatch(key: string): NewBatch {
  const idempotency = { route: '/v1/flow-policies', key, bodyHash: 'hash' };
  return { id: newId('batch'), atomicity: 'per-operation', operations: [permit(key)], principal: admin, idempotency };
}

test('HAZARDS 16: accepted in a COMMIT whose answer was lost is answered as accepted', async (t) => {
  const { cutter, journal } = await openJournal(t);
  const batch = newBatch('a');
  cutter.cuts = 'after';
  t.deepEqual(await journal.batchAccept([batch]), [{ accepted: true, batch: batch.id, replay: false }]);
  t.is(cutter.cutsDone, 1);
  t.is((await journal.batchGet(batch.id))?.id, batch.id);
});

test('HAZARDS 16: a COMMIT that did not get there is told as unknown, and its key can be repeated', async (t) => {
  const { cutter, journal } = await openJournal(t);
  const batch = newBatch('a');
  cutter.cuts = 'before';
  t.is(await refusal(journal.batchAccept([batch])), 'store-unavailable');
  const again = newBatch('a');
  t.deepEqual(await journal.batchAccept([again]), [{ accepted: true, batch: again.id, replay: false }]);
});

test('HAZARDS 16: where nobody can be asked it is told as unknown, and the key finds what was accepted', async (t) => {
  const { cutter, journal } = await openJournal(t);
  const batch = newBatch('a');
  cutter.cuts = 'after, and no new connection';
  t.is(await refusal(journal.batchAccept([batch])), 'store-unavailable');
  cutter.heal();
  t.deepEqual(await journal.batchAccept([newBatch('a')]), [{ accepted: true, batch: batch.id, replay: true }]);
});
