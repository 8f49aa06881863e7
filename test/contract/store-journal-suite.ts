/** The journal: what was accepted is kept, carried on in order, in a number of statements that is fixed. */
import test, { type ExecutionContext } from 'ava';
import { problem } from '../../src/domain/errors.ts';
import type { OperationSpec } from '../../src/domain/operation.ts';
import { groupPlanner } from '../../src/operations/planner.ts';
import type { GroupPlanner } from '../../src/store/group.ts';
import { KyselyJournalStore } from '../../src/store/kysely/journal.ts';
import type { EffectOutcome, NewBatch } from '../../src/store/store.ts';
import {
  attach,
  attachReader,
  create,
  createOnDemand,
  detach,
  OperationWorld,
  permit,
  remove,
  removePolicy,
  sizeBytes,
  words,
} from '../support/operation-world.ts';
import { firstPage, type OpenWorld } from '../support/store-world.ts';

export function storeJournalSuite(open: OpenWorld): void {
  acceptTests(open);
  readTests(open);
  orderTests(open);
  lateTests(open);
  statementTests(open);
}

const advanceOptions = { lease: null, maxBatches: 64, maxOperations: 4_000, effectLeaseMs: 30_000 };
const journalOptions = { backlogOperationsMax: 1_000_000, defaultFlowAction: 'permit' } as const;
const refusedByNode = problem('device-busy', 'It is still in use.');

function withKey(batch: NewBatch, key: string, bodyHash = 'hash'): NewBatch {
  return { ...batch, idempotency: { route: '/v1/volumes', key, bodyHash } };
}

function acceptTests(open: OpenWorld): void {
  test('HAZARD 15: one key twice in a group is one batch, another body is refused, and neighbours are not touched', async (t) => {
    const world = await OperationWorld.open(t, open);
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => world.newBatch([createOnDemand(name)]));
    if (a === undefined || b === undefined || c === undefined || d === undefined) return t.fail();
    const answers = await world.acceptAll([withKey(a, 'k'), withKey(b, 'k'), withKey(c, 'k', 'other'), d]);
    t.deepEqual(answers.slice(0, 2), [
      { accepted: true, batch: a.id, replay: false },
      { accepted: true, batch: a.id, replay: true },
    ]);
    t.like(answers[2], { accepted: false, problem: { code: 'idempotency-key-reused' } });
    t.deepEqual(answers[3], { accepted: true, batch: d.id, replay: false });
    const [later] = await world.acceptAll([withKey(world.newBatch([createOnDemand('e')]), 'k')]);
    t.deepEqual(later, { accepted: true, batch: a.id, replay: true });
    await world.settleDown();
    t.is((await world.store.resources.volumeList({}, firstPage)).items.length, 2);
  });

  test('HAZARD 15: one key at many replicas at once is one batch', async (t) => {
    const world = await OperationWorld.open(t, open);
    const replicas = [world, world.another(), world.another()];
    const answers = await Promise.all(
      replicas.map((replica, index) =>
        replica.acceptAll([
          withKey(replica.newBatch([createOnDemand(`v${index}`)]), 'k'),
          replica.newBatch([permit(`n${index}`)]),
        ]),
      ),
    );
    const batches = answers.map(([answer]) => (answer?.accepted === true ? answer.batch : 'refused'));
    t.is(new Set(batches).size, 1);
    t.is(answers.filter(([answer]) => answer?.accepted === true && !answer.replay).length, 1);
    t.true(answers.every(([, neighbour]) => neighbour?.accepted === true && !neighbour.replay));
    await world.settleDown();
    t.is((await world.store.resources.volumeList({}, firstPage)).items.length, 1);
  });

  test('an operation without an effect is accepted and has ended in one commit', async (t) => {
    const world = await OperationWorld.open(t, open);
    const batch = withKey(world.newBatch([permit('one')]), 'k');
    const before = await world.store.resources.eventsHead();
    const { answers, group } = await world.journal.batchAcceptAdvance([batch, batch], advanceOptions);
    t.deepEqual(answers, [
      { accepted: true, batch: batch.id, replay: false },
      { accepted: true, batch: batch.id, replay: true },
    ]);
    t.is(group.ended.map(({ id, state }) => `${id} ${state}`).join(), `${batch.id} ended`);
    const commits = (await world.store.resources.eventsAfter(before, 100)).map(({ cursor }) => cursor.split('.')[0]);
    t.is(new Set(commits).size, 1);
    const ended = await world.journal.batchGet(batch.id);
    t.like(ended, { state: 'ended', endedAt: ended?.acceptedAt });
  });

  test('what waits already comes before what is accepted and carried on in one commit, and the rest stays in order', async (t) => {
    const world = await OperationWorld.open(t, open);
    const first = await world.accept([permit('early')]);
    const second = world.newBatch([permit('next')]);
    const third = world.newBatch([permit('one')]);
    const { answers, group } = await world.journal.batchAcceptAdvance([second, third], {
      ...advanceOptions,
      maxBatches: 2,
    });
    t.true(answers.every(({ accepted }) => accepted));
    t.deepEqual(
      group.ended.map(({ id }) => id),
      [first, second.id],
    );
    t.true(group.more);
    t.like(await world.journal.batchGet(third.id), { state: 'accepted' });
    const next = await world.journal.groupAdvance(advanceOptions);
    t.deepEqual(
      next.ended.map(({ id }) => id),
      [third.id],
    );
    t.false(next.more);
  });

  test('HAZARD 16: what cannot be planned is accepted all the same', async (t) => {
    const world = await OperationWorld.open(t, open);
    const mistaken: GroupPlanner = {
      ...groupPlanner,
      advance: () => {
        throw new Error('assertion planned-mistake failed');
      },
    };
    const journal = new KyselyJournalStore(world.store.database, mistaken, journalOptions);
    const batch = world.newBatch([permit('one')]);
    const { answers, group } = await journal.batchAcceptAdvance([batch], advanceOptions);
    t.deepEqual(answers, [{ accepted: true, batch: batch.id, replay: false }]);
    t.true(group.more);
    t.like(await world.journal.batchGet(batch.id), { state: 'accepted' });
    await world.settleDown();
    t.like(await world.journal.batchGet(batch.id), { state: 'ended' });
  });

  test('a full journal refuses what does not fit, and nothing else', async (t) => {
    const world = await OperationWorld.open(t, open, { backlogOperationsMax: 3 });
    const batches = [[permit('a'), permit('b')], [permit('c'), permit('d')], [permit('e')]].map((operations) =>
      world.newBatch(operations),
    );
    const answers = await world.acceptAll(batches);
    t.deepEqual(
      answers.map((answer) => (answer.accepted ? 'accepted' : answer.problem.code)),
      ['accepted', 'journal-full', 'accepted'],
    );
    await world.settleDown();
    const [again] = await world.acceptAll([world.newBatch([permit('c'), permit('d')])]);
    t.true(again?.accepted);
  });
}

function readTests(open: OpenWorld): void {
  test('a batch is read back in the request’s order in each of its states', async (t) => {
    const world = await OperationWorld.open(t, open, { free: 1 });
    const id = await world.accept([createOnDemand('slow'), create('quick'), remove('nobody')]);
    t.like(await world.journal.backlog(), { acceptedBatches: 1, acceptedOperations: 3, runningBatches: 0 });
    t.deepEqual(words(await world.batch(id)), ['accepted', 'accepted', 'accepted']);
    t.deepEqual(await world.journal.batchListEnded([id]), []);
    const { effects } = await world.advance();
    t.deepEqual(words(await world.batch(id)), ['running', 'done', 'volume-not-found']);
    t.like(await world.journal.backlog(), { acceptedBatches: 0, runningBatches: 1 });
    const answer = await world.settle(await world.carryOut(effects));
    const batch = await world.batch(id);
    t.deepEqual(words(batch), ['done', 'done', 'volume-not-found']);
    const told = answer.ended.map((one) => ({ ...one, operations: JSON.parse(one.operations) }));
    t.deepEqual([told, await world.journal.batchListEnded([id, 'batch_none'])], [[batch], [batch]]);
    t.deepEqual(await world.journal.operationGet(`${id}-2`), batch.operations[2]);
    t.is(await world.journal.operationGet(`${id}-3`), null);
    t.is(await world.journal.batchGet('batch_none'), null);
    t.deepEqual(await world.advance(), { ...answer, ended: [], effects: [], batches: 0, operations: 0, more: false });
  });

  test('operations are listed newest first, by state and type, page by page', async (t) => {
    const world = await OperationWorld.open(t, open, { free: 2 });
    const first = await world.run([create('a'), remove('nobody')]);
    const second = await world.run([create('b'), permit('n')]);
    const all = [...second.operations].reverse().concat([...first.operations].reverse());
    const list = (filter = {}, pageToken: string | null = null) =>
      world.journal.operationList(filter, { pageSize: 3, pageToken });
    const page = await list();
    t.deepEqual(page.items, all.slice(0, 3));
    t.deepEqual((await list({}, page.nextPageToken)).items, all.slice(3));
    t.deepEqual((await list({ state: 'failed' })).items, [all[2]]);
    t.deepEqual(
      (await list({ type: 'volume.create' })).items.map(({ id }) => id),
      [`${second.id}-0`, `${first.id}-0`],
    );
  });

  test('operations that have not ended are listed in their places, by state and type, page by page', async (t) => {
    const world = await OperationWorld.open(t, open, { free: 1 });
    const running = await world.accept([createOnDemand('slow'), create('quick'), createOnDemand('too')]);
    await world.advance();
    const accepted = await world.accept([permit('m'), permit('n')]);
    const list = async (filter = {}, pageSize = 100) => {
      const found: string[] = [];
      for (let pageToken: string | null = null; ; ) {
        const page = await world.journal.operationList(filter, { pageSize, pageToken });
        found.push(...page.items.map(({ id, state }) => `${id} ${state}`));
        pageToken = page.nextPageToken;
        if (pageToken === null) return found;
      }
    };
    const waiting = [`${accepted}-1 accepted`, `${accepted}-0 accepted`];
    const all = [...waiting, `${running}-2 running`, `${running}-1 succeeded`, `${running}-0 running`];
    for (const pageSize of [1, 2, 3, 5, 100]) t.deepEqual(await list({}, pageSize), all);
    t.deepEqual(await list({ state: 'accepted' }, 1), waiting);
    t.deepEqual(await list({ state: 'running', type: 'volume.create' }, 1), [all[2], all[4]]);
    t.deepEqual(await list({ state: 'succeeded' }), [all[3]]);
    t.deepEqual(await list({ type: 'flow-policy.create' }), waiting);
    for (let more = 0; more < 3; more += 1) {
      await world.acceptAll(
        Array.from({ length: 50 }, (_, index) => world.newBatch([permit(`p${more * 50 + index}`)])),
      );
    }
    t.deepEqual(await list({ state: 'running' }, 1), [all[2], all[4]]);
    await world.settleDown();
    t.is((await list({ state: 'succeeded' }, 7)).length, 155);
  });

  test('an advance takes the oldest first, as many as it is allowed, and says that there are more', async (t) => {
    const world = await OperationWorld.open(t, open, { free: 5 });
    const ids = [];
    for (const name of ['a', 'b', 'c']) ids.push(await world.accept([create(name)]));
    const answer = await world.advance(2);
    t.deepEqual([answer.ended.map(({ id }) => id), answer.more], [ids.slice(0, 2), true]);
    const rest = await world.advance(2);
    t.deepEqual([rest.ended.map(({ id }) => id), rest.more], [ids.slice(2), false]);
  });
}

function orderTests(open: OpenWorld): void {
  test('HAZARD 14: operations of one resource take effect in their order, over batches and effects', async (t) => {
    const world = await OperationWorld.open(t, open, { free: 3 });
    const made = await world.accept([createOnDemand('v')]);
    const attached = await world.accept([attach('v')]);
    const removed = await world.accept([remove('v')]);
    const renewed = await world.accept([create('w'), remove('w'), create('w'), attach('w'), attach('w', 'host2')]);
    await world.settleDown();
    t.deepEqual(words(await world.batch(made)), ['done']);
    t.deepEqual(words(await world.batch(attached)), ['done']);
    t.deepEqual(words(await world.batch(removed)), ['volume-in-use']);
    t.deepEqual(words(await world.batch(renewed)), ['done', 'done', 'done', 'done', 'volume-in-use']);
    t.is(await world.leftovers(), '');
  });

  test('HAZARD 14: detach, attach elsewhere, detach and delete in their order', async (t) => {
    const world = await OperationWorld.open(t, open, { free: 2 });
    await world.run([create('v'), attach('v')]);
    const { id } = await world.attachmentOf('v');
    t.deepEqual(words(await world.run([detach(id), attach('v', 'host2')])), ['done', 'done']);
    const next = await world.attachmentOf('v');
    t.deepEqual([next.host, next.epoch], ['host2', 2]);
    t.deepEqual(words(await world.run([detach(next.id), remove('v'), create('v')])), ['done', 'done', 'done']);
    t.is(await world.leftovers(), '');
  });

  test('HAZARD 14: an operation that waits keeps its place before those that come later', async (t) => {
    const world = await OperationWorld.open(t, open, { free: 3 });
    await world.accept([createOnDemand('v')]);
    const { effects } = await world.advance();
    const deleted = await world.accept([remove('v')]);
    await world.advance();
    const created = await world.accept([create('v'), create('other')]);
    const answer = await world.advance();
    t.deepEqual(answer.ended, []);
    await world.settle(await world.carryOut(effects));
    await world.settleDown();
    t.deepEqual(words(await world.batch(deleted)), ['done']);
    t.deepEqual(words(await world.batch(created)), ['done', 'done']);
    t.is((await world.store.resources.volumeGet('v'))?.sizeBytes, sizeBytes);
    t.is(await world.leftovers(), '');
  });

  test('a batch that was woken and has an effect settled before it is looked at is looked at all the same', async (t) => {
    const world = await OperationWorld.open(t, open);
    await world.accept([createOnDemand('a')]);
    const first = await world.advance();
    const both = await world.accept([createOnDemand('b'), attach('a')]);
    const second = await world.advance();
    await world.settle(await world.carryOut(first.effects));
    const answer = await world.settle(await world.carryOut(second.effects));
    t.true(answer.more);
    const attached = await world.advance();
    t.deepEqual(
      attached.effects.map(({ kind }) => kind),
      ['export'],
    );
    await world.settle(await world.carryOut(attached.effects));
    t.deepEqual(words(await world.batch(both)), ['done', 'done']);
  });

  test('an end that wakes others is told by whoever committed it', async (t) => {
    const world = await OperationWorld.open(t, open);
    await world.run([createOnDemand('a'), attach('a')]);
    const { id } = await world.attachmentOf('a');
    const detached = await world.accept([detach(id)]);
    const { effects } = await world.advance();
    const removed = await world.accept([remove('a')]);
    t.false((await world.advance()).more);
    t.true((await world.settle(await world.carryOut(effects))).more);
    t.deepEqual(
      (await world.advance()).ended.map((batch) => batch.id),
      [removed],
    );
    t.deepEqual(words(await world.batch(detached)), ['done']);
    t.is(await world.leftovers(), '');
  });
}

function lateTests(open: OpenWorld): void {
  test('HAZARD 1: an effect that lands after recovery is refused, and its outcome is not heard', async (t) => {
    const world = await OperationWorld.open(t, open, { free: 1 });
    const id = await world.accept([create('v'), attach('v')]);
    const old = await world.advance();
    t.is(await world.journal.effectsRecover({ all: false }), 0);
    t.is(await world.journal.effectsRecover({ all: true }), 1);
    const again = await world.advance();
    const generations = [old, again].map(({ effects }) => effects[0]?.request.generation ?? 0);
    t.true((generations[1] ?? 0) > (generations[0] ?? 0));
    const done = await world.carryOut(again.effects);
    const late = await world.carryOut(old.effects);
    t.like(late[0]?.result, { ok: false, problem: { code: 'stale-generation' } });
    const pretended: EffectOutcome[] = old.effects.map((effect) => ({ effect, result: { ok: true } }));
    for (const outcomes of [late, pretended]) {
      t.deepEqual((await world.settle(outcomes)).ended, []);
      t.deepEqual(words(await world.batch(id)), ['done', 'running']);
    }
    await world.settle(done);
    t.deepEqual(words(await world.batch(id)), ['done', 'done']);
    await world.settle(done);
    t.is(await world.leftovers(), '');
  });

  test('HAZARD 1: a medium that is made late is refused, and that it was made is not heard', async (t) => {
    const world = await OperationWorld.open(t, open);
    const id = await world.accept([createOnDemand('v')]);
    const old = await world.advance();
    await world.journal.effectsRecover({ all: true });
    const again = await world.advance();
    const pretended: EffectOutcome[] = old.effects.map((effect) => ({ effect, result: { ok: true } }));
    const failed: EffectOutcome[] = old.effects.map((effect) => ({
      effect,
      result: { ok: false, problem: refusedByNode },
    }));
    for (const outcomes of [pretended, failed]) {
      t.deepEqual((await world.settle(outcomes)).effects, []);
      t.deepEqual(words(await world.batch(id)), ['running']);
    }
    await world.settle(await world.carryOut(again.effects));
    t.like((await world.carryOut(old.effects))[0]?.result, { ok: false, problem: { code: 'stale-generation' } });
    t.deepEqual(words(await world.batch(id)), ['done']);
    t.is(await world.leftovers(), '');
  });

  test('HAZARD 1: an unexport that lands late does not cut the next host off', async (t) => {
    const world = await OperationWorld.open(t, open, { free: 1 });
    await world.run([create('v'), attach('v')]);
    const { id } = await world.attachmentOf('v');
    const batch = await world.accept([detach(id)]);
    const { effects } = await world.advance();
    await world.journal.effectsRecover({ all: true });
    await world.settleDown();
    t.deepEqual(words(await world.batch(batch)), ['done']);
    t.deepEqual(words(await world.run([attach('v')])), ['done']);
    t.like((await world.carryOut(effects))[0]?.result, { ok: false });
    t.is(await world.leftovers(), '');
  });

  test('a reader’s export that a later one overtook is issued anew, and not refused', async (t) => {
    const world = await OperationWorld.open(t, open, { free: 1 });
    await world.run([create('v')]);
    const first = await world.accept([attachReader('v', 'host1')]);
    const slow = await world.advance();
    const second = await world.accept([attachReader('v', 'host2')], 'all-or-nothing');
    const quick = await world.advance();
    await world.settle(await world.carryOut(quick.effects));
    const answer = await world.settle(await world.carryOut(slow.effects));
    t.true(answer.more);
    await world.settleDown();
    t.deepEqual(words(await world.batch(first)), ['done']);
    t.deepEqual(words(await world.batch(second)), ['done']);
    t.is(await world.leftovers(), '');
  });

  test('an effect of a way back that was refused is due again soon, and others of its batch are not', async (t) => {
    const world = await OperationWorld.open(t, open, { free: 2 });
    await world.run([create('v'), attach('v'), create('w')]);
    const { id } = await world.attachmentOf('v');
    const batch = await world.accept([detach(id), attach('w')]);
    const { effects } = await world.advance();
    const refused = effects.filter(({ kind }) => kind === 'unexport');
    await world.settle(refused.map((effect) => ({ effect, result: { ok: false, problem: refusedByNode } })));
    const rows = await world.store.database.kysely.selectFrom('batches').selectAll().where('id', '=', batch).execute();
    const [row] = rows;
    t.true((row?.lease_until ?? 0) > 0 && (row?.lease_until ?? 0) <= Date.now() + 10_000, 'not only with the lease');
    await world.settle(await world.carryOut(effects.filter(({ kind }) => kind === 'export')));
    await world.settleDown();
    t.deepEqual(words(await world.batch(batch)), ['done', 'done']);
    t.is(await world.leftovers(), '');
  });
}

function statementTests(open: OpenWorld): void {
  test('accept, advance and settle cost as many statements for 1,000 operations as for 10', async (t) => {
    const world = await OperationWorld.open(t, open);
    const small = await costOf(t, world, 10);
    t.true(small.advance < 60 && small.settle < 40 && small.accept < 12, JSON.stringify(small));
    t.deepEqual(await costOf(t, world, 100), small);
    t.deepEqual(await costOf(t, world, 1_000), small);
  });
}

/** What a mix of every kind of operation costs, `count` of them in ten batches at most. */
async function costOf(t: ExecutionContext, world: OperationWorld, count: number) {
  const each = count / 10;
  const x = `c${count}x`;
  const names = Array.from({ length: each }, (_, index) => `${x}${index}`);
  await world.refill(3 * each);
  const before = await world.run(
    names
      .flatMap((name) => [create(`${name}old`), create(`${name}used`), attach(`${name}used`), permit(name)])
      .slice(0, 4 * each),
  );
  const idsOf = (kind: string) =>
    before.operations.flatMap(({ resource }) => (resource?.kind === kind ? [resource.id] : []));
  const operations: OperationSpec[] = [
    ...names.flatMap((name) => [create(name), attach(name), createOnDemand(`${name}b`), remove(`${name}old`)]),
    ...names.flatMap((name) => [permit(`${name}b`), create(name), remove(`${name}nobody`)]),
    ...idsOf('attachment').map((id) => detach(id)),
    ...idsOf('flow-policy').map((id) => removePolicy(id)),
    ...names.map((name) => attach(`${name}nobody`)),
  ];
  t.is(operations.length, count);
  const batch = world.newBatch(operations);
  const { database } = world.store;
  const cost = async (work: () => Promise<unknown>) => {
    const since = database.statements;
    await work();
    return database.statements - since;
  };
  const costs = { accept: 0, advance: 0, settle: 0 };
  costs.accept = await cost(() => world.acceptAll([withKey(batch, x)]));
  let effects: Awaited<ReturnType<OperationWorld['advance']>>['effects'] = [];
  costs.advance = await cost(async () => {
    ({ effects } = await world.advance());
  });
  const outcomes = await world.carryOut(effects);
  costs.settle = await cost(() => world.settle(outcomes));
  await world.settleDown();
  t.is(await world.leftovers(), '');
  return costs;
}
