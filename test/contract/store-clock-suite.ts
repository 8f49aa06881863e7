/** HAZARD 18: the database's clock is set back, by an hour mostly, which is to say: what was written before is of an hour later. */
import test from 'ava';
import { sql } from 'kysely';
import { Failure } from '../../src/domain/errors.ts';
import { KyselyIdempotencyStore } from '../../src/store/kysely/idempotency.ts';
import type { ErasureEffect, VolumeSettle } from '../../src/store/store.ts';
import {
  attach,
  create,
  createOnDemand,
  OperationWorld,
  poolDefaults,
  remove,
  words,
} from '../support/operation-world.ts';
import { type OpenWorld, refusal, type StoreWorld } from '../support/store-world.ts';

const hourMs = 3_600_000;
/** Shorter than the longest lease, and more than a test takes. */
const minutesMs = 300_000;
const due = { all: false, atMost: 10 } as const;

/** A wipe and a destruction that did not succeed. */
async function failedErasures(world: StoreWorld): Promise<void> {
  const { maintenance, resources } = world;
  const [returned = ''] = await world.filledPool({ name: 'erased', minFree: 2, maxVolumes: 2 });
  await world.allocate(returned, 'returned');
  await world.giveBack(returned);
  await resources.poolUpdate('erased', { minFree: 0, maxVolumes: 1 }, null);
  await maintenance.poolTrim();
  await maintenance.wipeSettle((await maintenance.wipeTake(due)).map(failedOf));
  await maintenance.destroySettle((await maintenance.destroyTake(due)).map(failedOf));
}

function failedOf({ request: { volumeId, generation } }: ErasureEffect): VolumeSettle {
  const problem = new Failure('device-busy', 'Something has it open.').problem;
  return { volumeId, generation, result: { ok: false, problem, quarantine: false } };
}

async function setBack({ database }: StoreWorld, byMs = hourMs): Promise<void> {
  for (const statement of [
    sql`UPDATE batches SET lease_until = lease_until + ${byMs} WHERE lease_until > 0`,
    sql`UPDATE volumes SET lease_until = lease_until + ${byMs} WHERE lease_until > 0`,
    sql`UPDATE attachments SET lease_until = lease_until + ${byMs} WHERE lease_until > 0`,
    sql`UPDATE leases SET until = until + ${byMs}`,
    sql`UPDATE hosts SET last_seen_at = last_seen_at + ${byMs}`,
    sql`UPDATE remembered_answers SET created_at = created_at + ${byMs}`,
  ]) {
    await statement.execute(database.kysely);
  }
}

export function storeClockSuite(open: OpenWorld): void {
  test('HAZARD 18: effects that did not come back are taken up again though the clock was set back', async (t) => {
    const world = await OperationWorld.open(t, open, { free: 1 });
    await world.run([createOnDemand('attached')]);
    const ids = [await world.accept([createOnDemand('data')]), await world.accept([attach('attached')])];
    t.is((await world.advance()).effects.length, 2);
    await setBack(world.store);
    t.is(await world.journal.effectsRecover({ all: false }), 0);
    t.is(await world.store.maintenance.leasesCurtail(), 4);
    t.is(await world.store.maintenance.leasesCurtail(), 0);
    await sql`UPDATE batches SET lease_until = lease_until - 1 WHERE lease_until > 0`.execute(
      world.store.database.kysely,
    );
    t.is(await world.journal.effectsRecover({ all: false }), 2);
    await world.settle(await world.carryOut((await world.advance()).effects));
    for (const id of ids) t.deepEqual(words(await world.batch(id)), ['done']);
  });

  test('HAZARD 18: volumes that were being made or wiped are taken up again though the clock was set back', async (t) => {
    const world = await open(t);
    const [id = ''] = await world.filledPool({ minFree: 1, maxVolumes: 3 });
    await world.allocate(id, 'data');
    await world.giveBack(id);
    const { maintenance } = world;
    await world.resources.poolUpdate('pool', { minFree: 3 }, null);
    t.is((await maintenance.wipeTake({ all: false, atMost: 10 })).length, 1);
    t.is((await maintenance.refillReserve('pool', 1)).length, 1);
    await setBack(world);
    t.deepEqual(await maintenance.wipeTake({ all: false, atMost: 10 }), []);
    t.is(await maintenance.leasesCurtail(), 2);
    t.is((await maintenance.wipeTake({ all: false, atMost: 10 })).length, 1);
    t.is((await maintenance.refillRecover({ all: false, atMost: 10 })).length, 1);
  });

  test('HAZARD 18: a lease waits for no longer than its own length, however little the clock was set back', async (t) => {
    const world = await OperationWorld.open(t, open, { free: 1, pool: { minFree: 3 } });
    await world.run([createOnDemand('attached')]);
    const wipedLater = await world.run([create('returned'), remove('returned')]);
    t.deepEqual(words(wipedLater), ['done', 'done']);
    const { maintenance } = world.store;
    t.is((await maintenance.wipeTake({ all: false, atMost: 10 })).length, 1);
    t.is((await maintenance.refillReserve(poolDefaults.name, 1)).length, 1);
    for (const operation of [createOnDemand('data'), attach('attached')]) await world.accept([operation]);
    t.is((await world.advance()).effects.length, 2);
    await setBack(world.store, minutesMs);
    t.is(await maintenance.leasesCurtail(), 6);
    t.is((await maintenance.wipeTake({ all: false, atMost: 10 })).length, 1);
    t.is((await maintenance.refillRecover({ all: false, atMost: 10 })).length, 1);
  });

  test('HAZARD 18: what did not succeed is tried again after a while, however little the clock was set back', async (t) => {
    const world = await open(t);
    await failedErasures(world);
    const { maintenance } = world;
    await setBack(world, minutesMs);
    t.deepEqual([await maintenance.wipeTake(due), await maintenance.destroyTake(due)], [[], []]);
    t.is(await maintenance.leasesCurtail(), 2);
    t.deepEqual([(await maintenance.wipeTake(due)).length, (await maintenance.destroyTake(due)).length], [1, 1]);
    t.is(await maintenance.leasesCurtail(), 0);
  });

  test('no lease that was given by this clock is curtailed', async (t) => {
    const world = await OperationWorld.open(t, open, { free: 1 });
    await failedErasures(world.store);
    await world.accept([createOnDemand('data')]);
    await world.advance();
    await world.store.maintenance.refillReserve(poolDefaults.name, 1);
    t.is(await world.store.maintenance.leasesCurtail(), 0);
  });

  test('HAZARD 18: a lease whose owner is dead is free after its time though the clock was set back', async (t) => {
    const world = await open(t);
    const { maintenance, database } = world;
    await maintenance.leaseTake('storage-node', 'dead', 60_000);
    await setBack(world);
    t.is(await maintenance.leaseTake('storage-node', 'next', 60_000), null);
    await sql`UPDATE leases SET until = until - 60001`.execute(database.kysely);
    t.is(await maintenance.leaseTake('storage-node', 'next', 60_000), 2);
  });

  test('HAZARD 18: a host that falls silent is offline in time though the clock was set back', async (t) => {
    const world = await open(t);
    await world.host();
    await setBack(world);
    t.deepEqual(await world.maintenance.hostsExpire(60_000), []);
    await sql`UPDATE hosts SET last_seen_at = last_seen_at - 60001`.execute(world.database.kysely);
    t.deepEqual(await world.maintenance.hostsExpire(60_000), ['host1']);
  });

  test('HAZARD 15: a key whose request died is free again though the clock was set back', async (t) => {
    const world = await open(t);
    const idempotency = new KyselyIdempotencyStore(world.database, hourMs);
    const request = { principal: 'p', route: 'POST /v1/tokens', key: 'key', bodyHash: 'x' };
    await idempotency.idempotencyBegin(request);
    t.is(await refusal(idempotency.idempotencyBegin(request)), 'idempotency-key-in-use');
    await setBack(world);
    t.like(await idempotency.idempotencyBegin(request), { first: false });
  });
}
