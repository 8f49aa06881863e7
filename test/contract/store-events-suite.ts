/** The stream of events, what ages out, the figures, and what a storage node should hold. */
import test from 'ava';
import { sql } from 'kysely';
import type { Event } from '../../src/domain/event.ts';
import { KyselyIdempotencyStore } from '../../src/store/kysely/idempotency.ts';
import type { IdempotentRequest } from '../../src/store/store.ts';
import { firstPage, type OpenWorld, refusal, type StoreWorld } from '../support/store-world.ts';

export function storeEventsSuite(open: OpenWorld): void {
  eventTests(open);
  retentionTests(open);
  figureTests(open);
  intentTests(open);
}

/** Reads the stream as a client does, behind the last cursor, until it has seen the last of the pools. */
async function follow(world: StoreWorld, pools: number): Promise<Event[]> {
  const seen: Event[] = [];
  const blocked = () => seen.filter(({ kind, state }) => kind === 'pool' && state === 'blocked').length;
  let cursor: string | null = null;
  while (blocked() < pools) {
    const events: readonly Event[] = await world.resources.eventsAfter(cursor, 3);
    seen.push(...events);
    cursor = events.at(-1)?.cursor ?? cursor;
  }
  return seen;
}

function eventTests(open: OpenWorld): void {
  test('HAZARD 14: a stream that is read while many write skips and repeats nothing', async (t) => {
    const world = await open(t);
    const names = Array.from({ length: 24 }, (_, index) => `pool${index}`);
    for (const name of names) await world.pool({ name });
    const writers = [world, world.another(), world.another(), world.another()];
    const writing = names.map((name, index) => writers[index % writers.length]?.maintenance.poolBlock(name, 'full'));
    const [seen] = await Promise.all([follow(world.another(), names.length), ...writing]);
    const all = await world.resources.eventsAfter(null, 1_000);
    t.deepEqual(
      seen.map(({ cursor }) => cursor),
      all.slice(0, seen.length).map(({ cursor }) => cursor),
    );
    const { rows } = await sql<{ commit_number: number }>`SELECT commit_number FROM events ORDER BY 1`.execute(
      world.database.kysely,
    );
    t.deepEqual(
      rows.map(({ commit_number }) => commit_number),
      Array.from({ length: rows.length }, (_, index) => index + 1),
    );
  });

  test('a stream that starts now sees what happens next, and one from the beginning all of it', async (t) => {
    const world = await open(t);
    t.deepEqual(await world.resources.eventsAfter(await world.resources.eventsHead(), 10), []);
    const ids = await world.filledPool({ minFree: 2 });
    const head = await world.resources.eventsHead();
    t.deepEqual(await world.resources.eventsAfter(head, 10), []);
    await world.maintenance.poolBlock('pool', 'full');
    t.like((await world.resources.eventsAfter(head, 10))[0], { kind: 'pool', name: 'pool', state: 'blocked' });
    const all = await world.resources.eventsAfter(null, 100);
    const free = all.filter(({ state }) => state === 'free').map(({ id }) => id);
    t.deepEqual(free.toSorted(), ids.toSorted());
    const page = await world.resources.eventsAfter(all[1]?.cursor ?? null, 2);
    t.deepEqual(page, all.slice(2, 4));
  });

  test('a cursor that is none, or whose successors are no longer kept, is refused', async (t) => {
    const world = await open(t);
    await world.filledPool();
    t.is(await refusal(world.resources.eventsAfter('7', 10)), 'invalid-request');
    await sql`DELETE FROM events WHERE commit_number <= 3`.execute(world.database.kysely);
    t.is(await refusal(world.resources.eventsAfter('2.0', 10)), 'invalid-request');
    t.true((await world.resources.eventsAfter('3.0', 10)).length > 0);
  });

  test('a change that is refused tells nothing and takes no commit number', async (t) => {
    const world = await open(t);
    await world.pool();
    const head = await world.resources.eventsHead();
    t.is(await refusal(world.resources.poolUpdate('pool', { minFree: 99 }, null)), 'invalid-request');
    t.is(await world.resources.eventsHead(), head);
  });
}

const hourMs = 3_600_000;
const limits = { operationsMs: hourMs, eventsMs: hourMs, atMost: 100 };

type CountedTable = 'batches' | 'operations' | 'idempotency' | 'events' | 'remembered_answers' | 'tokens';

async function count(world: StoreWorld, table: CountedTable): Promise<number> {
  const { rows } = await sql<{ rows: number }>`SELECT count(*) AS rows FROM ${sql.table(table)}`.execute(
    world.database.kysely,
  );
  return rows[0]?.rows ?? 0;
}

function retentionTests(open: OpenWorld): void {
  test('HAZARD 18: whole ended batches of some age are purged, with their operations and keys', async (t) => {
    const world = await open(t);
    await world.batch({ state: 'ended', endedMsAgo: 2 * hourMs });
    await world.batch({ state: 'ended', endedMsAgo: 2 * hourMs });
    const young = await world.batch({ state: 'ended', endedMsAgo: 0 });
    const running = await world.batch();
    const longer = { ...limits, operationsMs: 3 * hourMs };
    t.is(await world.maintenance.retentionPurge(longer), 0);
    t.is(await world.maintenance.retentionPurge({ ...limits, atMost: 1 }), 3);
    t.is(await world.maintenance.retentionPurge(limits), 3);
    const { rows } = await sql<{ id: string }>`SELECT id FROM batches ORDER BY id`.execute(world.database.kysely);
    t.deepEqual(
      rows.map(({ id }) => id),
      [young, running],
    );
    t.deepEqual([await count(world, 'operations'), await count(world, 'idempotency')], [2, 2]);
  });

  test('HAZARD 18: keys of other requests are purged with their answers, the oldest first', async (t) => {
    const world = await open(t);
    const idempotency = new KyselyIdempotencyStore(world.database);
    for (const key of ['oldest', 'old', 'young']) {
      const request = { principal: 'p', route: 'POST /v1/pools', key, bodyHash: 'x' };
      await idempotency.idempotencyEnd(request, await claimOf(idempotency, request), { status: 201, body: '{}' });
    }
    const aged = (key: string, ageMs: number) =>
      sql`UPDATE remembered_answers SET created_at = created_at - ${ageMs} WHERE key = ${key}`.execute(
        world.database.kysely,
      );
    await aged('oldest', 3 * hourMs);
    await aged('old', 2 * hourMs);
    t.is(await world.maintenance.retentionPurge({ ...limits, atMost: 1 }), 1);
    const again = { principal: 'p', route: 'POST /v1/pools', key: 'oldest', bodyHash: 'another' };
    t.like(await idempotency.idempotencyBegin(again), { first: true });
    t.is(await world.maintenance.retentionPurge(limits), 1);
    t.is(await count(world, 'remembered_answers'), 2);
  });

  test('HAZARD 15: over all replicas one request at a time has a key, and only the one that has it gives its answer', async (t) => {
    const world = await open(t);
    const replicas = [world, world.another(), world.another()].map(
      ({ database }) => new KyselyIdempotencyStore(database, hourMs),
    );
    const [one, two] = replicas;
    if (one === undefined || two === undefined) return t.fail();
    const request = { principal: 'p', route: 'POST /v1/tokens', key: 'key', bodyHash: 'x' };
    const begun = await Promise.allSettled(replicas.map((replica) => replica.idempotencyBegin(request)));
    t.is(begun.filter(({ status }) => status === 'fulfilled').length, 1);
    t.is(await refusal(one.idempotencyBegin(request)), 'idempotency-key-in-use');
    t.is(await refusal(two.idempotencyBegin({ ...request, bodyHash: 'y' })), 'idempotency-key-reused');
    const { rows } = await sql<{ claim: number }>`
      UPDATE remembered_answers SET created_at = created_at - ${hourMs} RETURNING created_at AS claim`.execute(
      world.database.kysely,
    );
    const overtaken = rows[0]?.claim ?? 0;
    const claim = await claimOf(two, request);
    const token = { id: 'tok_1', name: 'ci', role: 'viewer', host: null, expiresAt: null } as const;
    const late = { request, claim: overtaken, first: false };
    await world.resources.tokenCreate({ ...token, hash: 'two' }, { request, claim, first: false });
    t.is(await refusal(world.resources.tokenCreate({ ...token, hash: 'one' }, late)), 'idempotency-key-in-use');
    t.not(await world.resources.tokenFind('two'), null);
    t.false(await one.idempotencyEnd(request, overtaken, { status: 201, body: '"one"' }));
    await one.idempotencyRelease(request, overtaken);
    t.is(await refusal(one.idempotencyBegin(request)), 'idempotency-key-in-use');
    t.true(await two.idempotencyEnd(request, claim, { status: 201, body: '"two"' }));
    t.deepEqual(await one.idempotencyBegin(request), { answer: { status: 201, body: '"two"' } });
  });

  test('a key that was given back is free at once, and says that it was taken before', async (t) => {
    const world = await open(t);
    const idempotency = new KyselyIdempotencyStore(world.database);
    const request = { principal: 'p', route: 'POST /v1/tokens', key: 'key', bodyHash: 'x' };
    await idempotency.idempotencyRelease(request, await claimOf(idempotency, request));
    t.like(await idempotency.idempotencyBegin(request), { answer: null, first: false });
  });

  test('HAZARD 18: tokens are purged some time after they have expired, others never', async (t) => {
    const world = await open(t);
    const now = Date.now();
    const token = (name: string, expiresAt: number | null) =>
      world.resources.tokenCreate({ id: `tok_${name}`, name, hash: name, role: 'viewer', host: null, expiresAt });
    await token('for-ever', null);
    await token('just-expired', now - hourMs / 2);
    await token('long-expired', now - 2 * hourMs);
    t.is(await world.maintenance.retentionPurge(limits), 1);
    const { items } = await world.resources.tokenList(firstPage);
    t.deepEqual(items.map(({ name }) => name).sort(), ['for-ever', 'just-expired']);
  });

  test('HAZARD 18: a batch whose key is young, or that something is held for, is kept', async (t) => {
    const world = await open(t);
    const held = await world.batch({ state: 'ended', endedMsAgo: 2 * hourMs });
    const young = await world.batch({ state: 'ended', endedMsAgo: 2 * hourMs });
    await world.filledPool({ minFree: 1 });
    await sql`UPDATE volumes SET held_by = ${held}`.execute(world.database.kysely);
    await sql`UPDATE idempotency SET created_at = ${world.database.engine.now} WHERE batch = ${young}`.execute(
      world.database.kysely,
    );
    t.is(await world.maintenance.retentionPurge(limits), 0);
    t.is(await count(world, 'batches'), 2);
  });

  test('old events are purged from the oldest on, without a hole, and the newest stays', async (t) => {
    const world = await open(t);
    await world.filledPool();
    const commits = await world.commit();
    await sql`UPDATE events SET at = at - ${2 * hourMs} WHERE commit_number <> 2`.execute(world.database.kysely);
    t.is(await world.maintenance.retentionPurge(limits), 1);
    await sql`UPDATE events SET at = 0`.execute(world.database.kysely);
    t.is(await world.maintenance.retentionPurge({ ...limits, atMost: 1 }), 1);
    t.is(await world.maintenance.retentionPurge(limits), commits - 3);
    t.is(await count(world, 'events'), 1);
    t.is(await world.commit(), commits);
  });
}

function figureTests(open: OpenWorld): void {
  test('the figures are those of the pools, the journal, the wipe and the attachments', async (t) => {
    const world = await open(t);
    t.like(await world.maintenance.counters(), {
      pools: [],
      operationsWaiting: 0,
      wipeBacklog: 0,
      attachmentsByState: {},
    });
    const [one = '', two = ''] = await world.filledPool();
    await world.host();
    await world.allocate(one, 'one');
    await world.allocate(two, 'two');
    await world.attach(one);
    await world.giveBack(two);
    await world.batch();
    await world.batch({ state: 'ended', endedMsAgo: 1 });
    const { pools, ...figures } = await world.maintenance.counters();
    t.like(figures, { operationsWaiting: 1, wipeBacklog: 1, attachmentsByState: { exported: 1 } });
    t.like(pools[0]?.status, { free: 1, allocated: 1, wiping: 1 });
  });
}

function intentTests(open: OpenWorld): void {
  test('a storage node is told of the volumes that it shows, and of no others', async (t) => {
    const world = await open(t);
    const [one = '', two = '', three = ''] = await world.filledPool();
    await world.allocate(one, 'one');
    await world.allocate(two, 'two');
    await world.giveBack(two);
    const ask = async (volumeIds: string[], node = 'node') => {
      const { volumes } = await world.maintenance.nodeIntent(node, { volumeIds, attachmentIds: [] });
      return volumes.map(({ id, state }) => `${id} ${state}`);
    };
    t.deepEqual(await ask([]), []);
    t.deepEqual(await ask([two, three, 'vol_unknown']), [`${two} wiping`, `${three} free`]);
    t.deepEqual(await ask([one], 'other'), []);
  });

  test('a storage node should export what is attached, with the request that does it', async (t) => {
    const world = await open(t);
    const [id = ''] = await world.filledPool({ minFree: 1 });
    await world.host();
    await world.allocate(id, 'data');
    const attachment = await world.attach(id, { state: 'quarantined' });
    const intent = await world.maintenance.nodeIntent('node', { volumeIds: [], attachmentIds: [] });
    const volume = await world.resources.volumeGet('data');
    t.is(intent.highestGeneration, await world.commit());
    t.deepEqual(
      intent.attachments.map((each) => each.attachment),
      (await world.resources.attachmentList({}, firstPage)).items,
    );
    t.like(intent.attachments[0]?.export, {
      attachmentId: attachment,
      volumeId: id,
      epoch: 1,
      readOnly: false,
      generation: intent.highestGeneration,
      mediaGeneration: volume?.mediaGeneration,
      serial: volume?.serial,
    });
  });
}

async function claimOf(idempotency: KyselyIdempotencyStore, request: IdempotentRequest): Promise<number> {
  const begun = await idempotency.idempotencyBegin(request);
  return begun.answer === null ? begun.claim : 0;
}
