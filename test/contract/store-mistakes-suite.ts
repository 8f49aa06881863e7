/** A bug in planning: its batch is given up as far as that is safe, and nobody else notices. */
import test, { type ExecutionContext } from 'ava';
import { sql } from 'kysely';
import { assert, Failure } from '../../src/domain/errors.ts';
import { groupPlanner } from '../../src/operations/planner.ts';
import type { GroupPlan, GroupPlanner, PendingBatch } from '../../src/store/group.ts';
import { type Change, type Connection, Database } from '../../src/store/kysely/database.ts';
import { KyselyJournalStore } from '../../src/store/kysely/journal.ts';
import type { GroupAnswer } from '../../src/store/store.ts';
import { attach, create, createOnDemand, OperationWorld, permit, remove, words } from '../support/operation-world.ts';
import { type OpenWorld, refusal } from '../support/store-world.ts';

export function storeMistakesSuite(open: OpenWorld): void {
  untouchedTests(open);
  begunTests(open);
  commitTests(open);
  leaseTests(open);
}

const options = { lease: null, maxBatches: 64, maxOperations: 4_000, effectLeaseMs: 30_000 };
const journalOptions = { backlogOperationsMax: 1_000_000, defaultFlowAction: 'permit' } as const;

/** The planner with a bug that batches of the given description meet. */
class Mistaken implements GroupPlanner {
  readonly references = groupPlanner.references;
  readonly needs = groupPlanner.needs;
  readonly giveUp = groupPlanner.giveUp;
  advancing: (batch: PendingBatch) => boolean = () => false;
  settling: (batch: PendingBatch) => boolean = () => false;

  readonly advance: GroupPlanner['advance'] = (batches, ...rest) => {
    assert(!batches.some((batch) => this.advancing(batch)), 'planted-advance');
    return groupPlanner.advance(batches, ...rest);
  };

  readonly settle: GroupPlanner['settle'] = (outcomes, batches, ...rest) => {
    assert(!batches.some((batch) => this.settling(batch)), 'planted-settle');
    return groupPlanner.settle(outcomes, batches, ...rest);
  };
}

async function openMistaken(t: ExecutionContext, open: OpenWorld, free = 4) {
  const planner = new Mistaken();
  return { planner, world: await OperationWorld.open(t, open, { free, planner }) };
}

/** An undecided batch that met a bug after its effects, and one beside it. The bug is met again where `isMet` says so. */
async function undone(t: ExecutionContext, open: OpenWorld, isMet: (batch: PendingBatch) => boolean) {
  const { planner, world } = await openMistaken(t, open);
  const culprit = await world.accept([createOnDemand('v'), create('w')], 'all-or-nothing');
  const { effects } = await world.advance();
  planner.advancing = (batch) => batch.id === culprit && isMet(batch);
  const other = await world.accept([create('x')]);
  await world.settle(await world.carryOut(effects));
  t.deepEqual(told(await world.advance()), [`${culprit} undoing`]);
  return { planner, world, culprit, other };
}

async function assertTakenBack(t: ExecutionContext, world: OperationWorld, culprit: string): Promise<void> {
  t.deepEqual(words(await world.batch(culprit)), ['internal', 'batch-aborted']);
  await world.wipe();
  t.is(await world.leftovers(), '');
}

function told({ mistakes }: GroupAnswer): string[] {
  return mistakes.map(({ batch, outcome }) => `${batch} ${outcome}`);
}

async function parked(world: OperationWorld): Promise<string[]> {
  return (await world.journal.backlog()).parkedBatches.map(({ id, reason }) => `${id}: ${reason}`);
}

/** Makes the batch unreadable; answers what makes it readable again. */
async function damage(world: OperationWorld, batch: string): Promise<() => Promise<unknown>> {
  const { kysely } = world.store.database;
  const { rows } = await sql<{ operations: string }>`SELECT operations FROM batches WHERE id = ${batch}`.execute(
    kysely,
  );
  const write = (operations: string) =>
    sql`UPDATE batches SET operations = ${operations} WHERE id = ${batch}`.execute(kysely);
  await write('damaged');
  return () => write(rows[0]?.operations ?? '');
}

function untouchedTests(open: OpenWorld): void {
  test('a batch that cannot be planned fails as a whole, and the others of its group go on', async (t) => {
    const { planner, world } = await openMistaken(t, open);
    const before = await world.accept([create('a')]);
    const culprit = await world.accept([create('b'), permit('n')]);
    const behind = await world.accept([create('b'), attach('a')]);
    planner.advancing = ({ id }) => id === culprit;
    const answer = await world.advance();
    t.deepEqual(told(answer), [`${culprit} failed`]);
    t.is(answer.mistakes[0]?.message, 'assertion planted-advance failed');
    t.deepEqual(answer.ended.map(({ id }) => id).sort(), [before, culprit].sort());
    await world.settle(await world.carryOut(answer.effects));
    t.deepEqual(words(await world.batch(culprit)), ['internal', 'internal']);
    t.deepEqual(words(await world.batch(before)), ['done']);
    t.deepEqual(words(await world.batch(behind)), ['done', 'done']);
    t.deepEqual(await parked(world), []);
    t.is(await world.leftovers(), '');
  });

  test('a batch that cannot be planned while it waits fails, and wakes those behind it', async (t) => {
    const { planner, world } = await openMistaken(t, open);
    await world.accept([createOnDemand('v')]);
    const { effects } = await world.advance();
    const waiting = await world.accept([attach('v'), permit('n')], 'all-or-nothing');
    const behind = await world.accept([remove('v')]);
    await world.advance();
    planner.advancing = ({ id }) => id === waiting;
    await world.settle(await world.carryOut(effects));
    await world.settleDown();
    t.deepEqual(words(await world.batch(waiting)), ['internal', 'internal']);
    t.deepEqual(words(await world.batch(behind)), ['done']);
    t.is(await world.leftovers(), '');
  });

  test('a plan that the schema does not admit is a mistake of its batch alone', async (t) => {
    const { planner, world } = await openMistaken(t, open);
    const twice = (plan: GroupPlan): GroupPlan => ({ ...plan, outcomes: [...plan.outcomes, ...plan.outcomes] });
    const culprit = await world.accept([permit('a')]);
    const other = await world.accept([permit('b')]);
    const journal = new KyselyJournalStore(
      world.store.database,
      {
        ...planner,
        advance: (batches, ...rest) => {
          const plan = groupPlanner.advance(batches, ...rest);
          return batches.some(({ id }) => id === culprit) ? twice(plan) : plan;
        },
      },
      journalOptions,
    );
    t.deepEqual(told(await journal.groupAdvance(options)), [`${culprit} failed`]);
    t.deepEqual(words(await world.batch(culprit)), ['internal']);
    t.deepEqual(words(await world.batch(other)), ['done']);
    t.is(await world.leftovers(), '');
  });

  test('a batch that cannot be read is parked, and the others go on', async (t) => {
    const { world } = await openMistaken(t, open);
    const damaged = await world.accept([permit('a')]);
    const mend = await damage(world, damaged);
    const other = await world.accept([permit('b')]);
    t.deepEqual(told(await world.advance()), [`${damaged} parked`]);
    t.is((await parked(world)).length, 1);
    t.deepEqual(words(await world.batch(other)), ['done']);
    await mend();
    await world.settleDown();
    t.deepEqual(words(await world.batch(damaged)), ['done']);
    t.deepEqual(await parked(world), []);
    t.is(await world.leftovers(), '');
  });
}

function begunTests(open: OpenWorld): void {
  test('what a parked batch has begun stays until it can go on; what it has not begun has failed', async (t) => {
    const { planner, world } = await openMistaken(t, open);
    const culprit = await world.accept([createOnDemand('v'), attach('v')]);
    const { effects } = await world.advance();
    await world.journal.effectsRecover({ all: true });
    planner.advancing = ({ id }) => id === culprit;
    const behind = await world.accept([remove('v')]);
    const other = await world.accept([create('w')]);
    t.deepEqual(told(await world.advance()), [`${culprit} parked`]);
    t.deepEqual(words(await world.batch(culprit)), ['running', 'internal']);
    t.deepEqual(words(await world.batch(other)), ['done']);
    t.deepEqual(await parked(world), [`${culprit}: assertion planted-advance failed`]);
    t.deepEqual((await world.advance()).mistakes, []);
    await world.settle(await world.carryOut(effects));
    await world.settleDown();
    t.deepEqual(words(await world.batch(culprit)), ['done', 'internal']);
    t.deepEqual(words(await world.batch(behind)), ['done']);
    t.deepEqual(await parked(world), []);
    t.is(await world.leftovers(), '');
  });

  test('a parked batch goes on by itself once the bug is gone', async (t) => {
    const { planner, world } = await openMistaken(t, open);
    const culprit = await world.accept([createOnDemand('v')]);
    await world.advance();
    await world.journal.effectsRecover({ all: true });
    planner.advancing = ({ id }) => id === culprit;
    t.deepEqual(told(await world.advance()), [`${culprit} parked`]);
    t.is(await world.journal.effectsRecover({ all: true }), 1);
    t.deepEqual(told(await world.advance()), [`${culprit} parked`]);
    planner.advancing = () => false;
    await world.settleDown();
    t.deepEqual(words(await world.batch(culprit)), ['done']);
    t.is(await world.leftovers(), '');
  });

  test('an undecided batch that cannot go on is taken back', async (t) => {
    const { world, culprit, other } = await undone(t, open, ({ decision }) => decision === null);
    await world.settleDown();
    t.deepEqual(words(await world.batch(other)), ['done']);
    await assertTakenBack(t, world, culprit);
  });

  test('a batch that can neither go on nor back is parked, and nothing that it holds is given away', async (t) => {
    const { planner, world, culprit, other } = await undone(t, open, () => true);
    t.deepEqual(told(await world.advance()), [`${culprit} parked`]);
    const behind = await world.accept([create('w')]);
    await world.advance();
    t.deepEqual(words(await world.batch(other)), ['done']);
    t.deepEqual(words(await world.batch(behind)), ['running']);
    t.like(await world.batch(culprit), { state: 'running', decision: 'undoing' });
    planner.advancing = () => false;
    await world.settleDown();
    t.deepEqual(words(await world.batch(behind)), ['done']);
    await assertTakenBack(t, world, culprit);
  });

  test('an outcome that cannot be settled parks its batch, and the others’ are settled', async (t) => {
    const { planner, world } = await openMistaken(t, open);
    const culprit = await world.accept([createOnDemand('v')]);
    const other = await world.accept([createOnDemand('w')]);
    const { effects } = await world.advance();
    planner.settling = ({ id }) => id === culprit;
    const answer = await world.settle(await world.carryOut(effects));
    t.deepEqual(told(answer), [`${culprit} parked`]);
    t.deepEqual(words(await world.batch(other)), ['done']);
    t.deepEqual(words(await world.batch(culprit)), ['running']);
    planner.settling = () => false;
    await world.settleDown();
    t.deepEqual(words(await world.batch(culprit)), ['done']);
    t.is(await world.leftovers(), '');
  });
}

/** A database whose commits happen, or not, and whose answers to them are lost. */
class LosingDatabase extends Database {
  loses: 'answer' | 'commit' | null = null;

  override plain<T>(work: (db: Connection) => Promise<T>): Promise<T> {
    return this.#lose((wrapped) => super.plain(wrapped), work);
  }

  override change<T>(work: (tx: Change) => Promise<T>): Promise<T> {
    return this.#lose((wrapped) => super.change(wrapped), work);
  }

  async #lose<T, X>(commit: (work: (tx: X) => Promise<T>) => Promise<T>, work: (tx: X) => Promise<T>): Promise<T> {
    const { loses } = this;
    this.loses = null;
    const lost = new Failure('store-unavailable', 'The store does not answer; the outcome is unknown.');
    const answer = await commit(async (tx) => {
      const worked = await work(tx);
      if (loses === 'commit') throw lost;
      return worked;
    });
    if (loses === 'answer') throw lost;
    return answer;
  }
}

function commitTests(open: OpenWorld): void {
  const losing = (world: OperationWorld) => {
    const { engine, kysely } = world.store.database;
    return new LosingDatabase({ engine, kysely, fatal: () => undefined });
  };

  test('HAZARD 16: a commit whose answer is lost is found out by the batch’s id, and nothing is accepted twice', async (t) => {
    const world = await OperationWorld.open(t, open, { free: 4 });
    const database = losing(world);
    const journal = new KyselyJournalStore(database, groupPlanner, journalOptions);
    const planned = world.newBatch([permit('a')]);
    database.loses = 'answer';
    const { answers, group } = await journal.batchAcceptAdvance([planned], options);
    t.deepEqual(answers, [{ accepted: true, batch: planned.id, replay: false }]);
    t.deepEqual(
      group.ended.map(({ id }) => id),
      [planned.id],
    );
    const alone = world.newBatch([permit('b')]);
    database.loses = 'answer';
    t.deepEqual(await journal.batchAccept([alone]), [{ accepted: true, batch: alone.id, replay: false }]);
    await world.settleDown();
    t.deepEqual(words(await world.batch(alone.id)), ['done']);
    t.is(await world.leftovers(), '');
  });

  test('HAZARD 16: what was not committed is told as unknown, and can be repeated with its key', async (t) => {
    const world = await OperationWorld.open(t, open, { free: 4 });
    const database = losing(world);
    const journal = new KyselyJournalStore(database, groupPlanner, journalOptions);
    const idempotency = { route: '/v1/volumes', key: 'k', bodyHash: 'hash' };
    for (const accept of [
      async () =>
        (await journal.batchAcceptAdvance([{ ...world.newBatch([permit('a')]), idempotency }], options)).answers,
      () => journal.batchAccept([{ ...world.newBatch([permit('a')]), idempotency }]),
    ]) {
      database.loses = 'commit';
      t.is(await refusal(accept()), 'store-unavailable');
    }
    const [first] = await journal.batchAccept([{ ...world.newBatch([permit('a')]), idempotency }]);
    t.like(first, { accepted: true, replay: false });
  });

  test('a store that does not answer is nobody’s mistake: nothing is given up', async (t) => {
    const world = await OperationWorld.open(t, open, { free: 4 });
    const database = losing(world);
    const journal = new KyselyJournalStore(database, groupPlanner, journalOptions);
    const batch = await world.accept([permit('a')]);
    database.loses = 'commit';
    t.is(await refusal(journal.groupAdvance(options)), 'store-unavailable');
    t.deepEqual(words(await world.batch(batch)), ['accepted']);
    await world.settleDown();
    t.deepEqual(words(await world.batch(batch)), ['done']);
  });
}

/** A database before whose n-th change something else happens. */
class InterruptedDatabase extends Database {
  changes = 0;
  interruption: { readonly before: number; readonly work: () => Promise<unknown> } | null = null;

  override async change<T>(work: (tx: Change) => Promise<T>): Promise<T> {
    this.changes += 1;
    if (this.changes === this.interruption?.before) await this.interruption.work();
    return super.change(work);
  }
}

/** What is told of a batch with a bug by a worker whose lease another takes before its n-th commit. */
async function overtaken(world: OperationWorld, planner: GroupPlanner, before: number): Promise<readonly string[]> {
  const { maintenance } = world.store;
  const { engine, kysely } = world.store.database;
  const database = new InterruptedDatabase({ engine, kysely, fatal: () => undefined });
  const token = await maintenance.leaseTake('storage-node', 'one', 60_000);
  assert(token !== null, 'test-lease');
  const work = async () => {
    await maintenance.leaseDrop('storage-node', 'one');
    await maintenance.leaseTake('storage-node', 'two', 60_000);
  };
  database.interruption = { before, work };
  const journal = new KyselyJournalStore(database, planner, journalOptions);
  const answer = await journal.groupAdvance({ ...options, lease: { name: 'storage-node', token } });
  assert(database.changes === before, 'test-interruption');
  return told(answer);
}

function leaseTests(open: OpenWorld): void {
  // The group, the batch alone, what is given up of it.
  for (const before of [1, 2, 3]) {
    test(`HAZARD 1: a worker gives up nothing when its lease goes to another before its commit ${before}`, async (t) => {
      const { planner, world } = await openMistaken(t, open);
      const culprit = await world.accept([create('v')]);
      planner.advancing = ({ id }) => id === culprit;
      t.deepEqual(await overtaken(world, planner, before), []);
      t.deepEqual(words(await world.batch(culprit)), ['accepted']);
      planner.advancing = () => false;
      await world.settleDown();
      t.deepEqual(words(await world.batch(culprit)), ['done']);
      t.is(await world.leftovers(), '');
    });
  }

  test('HAZARD 1: a worker parks nothing when its lease goes to another after it could not give the batch up', async (t) => {
    const { planner, world } = await openMistaken(t, open);
    const damaged = await world.accept([create('v')]);
    const mend = await damage(world, damaged);
    t.deepEqual(await overtaken(world, planner, 4), []);
    t.deepEqual(await parked(world), []);
    await mend();
    t.like(await world.advance(), { batches: 1, mistakes: [] });
    t.deepEqual(words(await world.batch(damaged)), ['done']);
    t.is(await world.leftovers(), '');
  });
}
