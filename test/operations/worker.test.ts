/** Worker, intake and waiters: group commit, limits, a store that fails, and a close that leaves nothing behind. */
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { limits } from '../../src/config/limits.ts';
import { assert, Failure } from '../../src/domain/errors.ts';
import { type Batch, type Operation, type OperationSpec, operationId } from '../../src/domain/operation.ts';
import { BatchWaiters } from '../../src/operations/batch-waiters.ts';
import { JournalIntake } from '../../src/operations/intake.ts';
import { groupPlanner } from '../../src/operations/planner.ts';
import { OperationWorker } from '../../src/operations/worker.ts';
import { InProcessQueue } from '../../src/queue/in-process/in-process-queue.ts';
import type { GroupPlanner } from '../../src/store/group.ts';
import { nothing } from '../../src/store/kysely/journal.ts';
import type { Effect, JournalStore, NewBatch } from '../../src/store/store.ts';
import { attach, create, createOnDemand, OperationWorld, permit, words } from '../support/operation-world.ts';
import { sqliteWorld } from '../support/store-world.ts';

const open = sqliteWorld();
const log = pino({ level: 'silent' });
const deadlineMs = 30_000;

/** The journal with some of its methods done otherwise. */
function journalWith(world: OperationWorld, instead: Partial<JournalStore>): JournalStore {
  const { journal } = world;
  return {
    batchAccept: (batches) => journal.batchAccept(batches),
    batchAcceptAdvance: (batches, options) => journal.batchAcceptAdvance(batches, options),
    groupAdvance: (options) => journal.groupAdvance(options),
    groupSettle: (outcomes, options) => journal.groupSettle(outcomes, options),
    effectsRecover: (options) => journal.effectsRecover(options),
    batchGet: (id) => journal.batchGet(id),
    batchListEnded: (ids) => journal.batchListEnded(ids),
    operationGet: (id) => journal.operationGet(id),
    operationList: (filter, page) => journal.operationList(filter, page),
    backlog: () => journal.backlog(),
    ...instead,
  };
}

function endedOperation(batch: string, index: number): Operation {
  const outcome = { state: 'succeeded', resource: null, existing: false, problem: null } as const;
  const told = { requestedBy: 'somebody', acceptedAt: 0, endedAt: 0 };
  return { id: operationId(batch, index), batch, type: 'volume.create', ...outcome, ...told };
}

function endedBatch(id: string, operationCount: number): Batch {
  const operations = Array.from({ length: operationCount }, (_, index) => endedOperation(id, index));
  const rest = {
    atomicity: 'per-operation',
    decision: null,
    requestedBy: 'somebody',
    acceptedAt: 0,
    endedAt: 0,
  } as const;
  return { id, state: 'ended', operations, ...rest };
}

/** Everything that a controller has for operations, over the given store. */
function machinery(t: ExecutionContext, world: OperationWorld, store: JournalStore = world.journal) {
  const queue = new InProcessQueue({ observer: { handoverFailed: () => undefined, errored: () => undefined } });
  t.teardown(() => queue.close());
  const errors: unknown[] = [];
  const waiters = new BatchWaiters(store, (error) => errors.push(error));
  t.teardown(() => waiters.close());
  const groups: number[] = [];
  const intake = new JournalIntake({ store, queue, waiters, onCommit: (batches) => groups.push(batches) });
  const ended: Batch[] = [];
  const mistakes: string[] = [];
  const worker = new OperationWorker({
    store,
    nodes: new Map([[world.node.name, world.node]]),
    mayAct: () => true,
    isOurs: async () => true,
    log,
    onEnded: (batches) => {
      ended.push(...batches);
      waiters.ended(batches);
    },
    onPoolsBelowMinimum: () => undefined,
    observe: { phase: () => undefined, group: () => undefined, mistake: (outcome) => mistakes.push(outcome) },
  });
  return { queue, waiters, intake, worker, groups, ended, mistakes, errors };
}

async function until(what: () => boolean): Promise<void> {
  const deadline = Date.now() + deadlineMs;
  while (!what()) {
    if (Date.now() > deadline) throw new Error('it did not come to that');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function gate() {
  let pass: () => void = () => undefined;
  const passed = new Promise<void>((resolve) => {
    pass = resolve;
  });
  return { passed, pass: () => pass() };
}

test('all that arrive while a commit runs go into the next one', async (t) => {
  const world = await OperationWorld.open(t, open);
  const { passed, pass } = gate();
  const sizes: number[] = [];
  const store = journalWith(world, {
    batchAccept: async (batches) => {
      sizes.push(batches.length);
      if (sizes.length === 1) await passed;
      return world.journal.batchAccept(batches);
    },
  });
  const { intake } = machinery(t, world, store);
  const batchOf = (index: number) => world.newBatch([permit(`n${index}`)]);
  const first = intake.accept(batchOf(0));
  await until(() => sizes.length === 1);
  const others = Array.from({ length: 20 }, (_, index) => intake.accept(batchOf(index + 1)));
  pass();
  t.true((await Promise.all([first, ...others])).every(({ accepted }) => accepted));
  t.deepEqual(sizes, [1, 20]);
});

test('with the worker in the same process a batch is planned in its journal commit, and its end is known at once', async (t) => {
  const world = await OperationWorld.open(t, open);
  const store = journalWith(world, {
    batchAccept: () => Promise.reject(new Error('a commit of its own')),
    batchListEnded: () => Promise.reject(new Error('nobody has to ask')),
  });
  const { waiters, worker, ended, queue } = machinery(t, world, store);
  const intake = new JournalIntake({ store, queue, waiters, worker: () => worker });
  const batch = world.newBatch([permit('one')]);
  t.like(await intake.accept(batch), { accepted: true, batch: batch.id });
  t.like(await intake.waitEnded(batch.id, deadlineMs), { id: batch.id, state: 'ended' });
  t.deepEqual(
    ended.map(({ id }) => id),
    [batch.id],
  );
});

test('HAZARD 15: a group that the store refuses fails its own batches, and no others', async (t) => {
  const world = await OperationWorld.open(t, open);
  let commits = 0;
  const store = journalWith(world, {
    batchAccept: async (batches) => {
      commits += 1;
      if (commits === 2) throw new Failure('store-unavailable', 'It does not answer.');
      return world.journal.batchAccept(batches);
    },
  });
  const { intake, groups } = machinery(t, world, store);
  const count = 2 * limits.groupBatches + 1;
  const batches = Array.from({ length: count }, (_, index) => world.newBatch([permit(`n${index}`)]));
  const answers = await Promise.allSettled(batches.map((batch) => intake.accept(batch)));
  const refused = answers.flatMap((answer, index) => (answer.status === 'rejected' ? [index] : []));
  t.deepEqual(
    refused,
    Array.from({ length: limits.groupBatches }, (_, index) => index + limits.groupBatches),
  );
  t.deepEqual(groups, [limits.groupBatches, 1]);
});

test('HAZARD 15: a full journal and a wait that times out are answers, and the accepted batch goes on', async (t) => {
  const world = await OperationWorld.open(t, open, { backlogOperationsMax: 2 });
  const { intake, worker } = machinery(t, world);
  const batch = world.newBatch([createOnDemand('v'), attach('v')]);
  t.like(await intake.accept(batch), { accepted: true, batch: batch.id });
  t.like(await intake.accept(world.newBatch([permit('n')])), { accepted: false, problem: { code: 'journal-full' } });
  t.is(await intake.waitEnded(batch.id, 1), null);
  const waited = intake.waitEnded(batch.id, deadlineMs);
  await worker.run();
  t.deepEqual(words((await waited) ?? (await world.batch('never'))), ['done', 'done']);
  t.true((await intake.accept(world.newBatch([permit('n')]))).accepted);
  await worker.close();
  t.is((await world.batch(batch.id)).state, 'ended');
});

test('everyone who waits for a batch is answered once, also when another process ends it', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 1 });
  const { waiters } = machinery(t, world);
  const batch = await world.accept([create('v')]);
  let answers = 0;
  const waiting = Array.from({ length: 3 }, async () => {
    const answer = await waiters.wait(batch, deadlineMs);
    answers += 1;
    return answer;
  });
  await world.another().settleDown();
  const found = await Promise.all(waiting);
  t.deepEqual(
    found.map((one) => one?.state),
    ['ended', 'ended', 'ended'],
  );
  waiters.ended(found.flatMap((one) => one ?? []));
  waiters.announced([batch]);
  t.is(answers, 3);
});

test('what ended before anybody waited is handed over once and within bounds; for the rest the store is asked', async (t) => {
  const world = await OperationWorld.open(t, open);
  const asked: string[] = [];
  const store = journalWith(world, {
    batchListEnded: async (ids) => {
      asked.push(...ids);
      return ids.map((id) => endedBatch(id, 1));
    },
  });
  const { waiters } = machinery(t, world, store);
  waiters.ended([endedBatch('first', 1), endedBatch('second', limits.groupOperations - 1), endedBatch('third', 1)]);
  t.like(await waiters.wait('second', deadlineMs), { id: 'second' });
  t.like(await waiters.wait('third', deadlineMs), { id: 'third' });
  t.deepEqual(asked, []);
  t.like(await waiters.wait('first', deadlineMs), { id: 'first' });
  t.like(await waiters.wait('second', deadlineMs), { id: 'second' });
  t.deepEqual(asked, ['first', 'second']);
});

test('a store that cannot be asked is told of, and asked again', async (t) => {
  const world = await OperationWorld.open(t, open);
  let looks = 0;
  const store = journalWith(world, {
    batchListEnded: async (ids) => {
      looks += 1;
      if (looks === 1) throw new TypeError('broken');
      return ids.map((id) => endedBatch(id, 1));
    },
  });
  const { waiters, errors } = machinery(t, world, store);
  t.like(await waiters.wait('batch', deadlineMs), { id: 'batch' });
  t.deepEqual(errors.map(String), ['TypeError: broken']);
});

test('a close answers those who wait, and whoever comes later at once', async (t) => {
  const world = await OperationWorld.open(t, open);
  const { waiters } = machinery(t, world);
  const waiting = waiters.wait('batch_none', deadlineMs);
  waiters.close();
  t.is(await waiting, null);
  t.is(await waiters.wait('batch_none', deadlineMs), null);
});

test('a bug in planning is counted, its batch ends, and the worker goes on', async (t) => {
  const mistaken = 'mistaken';
  const planner: GroupPlanner = {
    ...groupPlanner,
    advance: (batches, ...rest) => {
      const specs = batches.flatMap(({ operations }) => operations);
      assert(!specs.some(({ params }) => 'name' in params && params.name === mistaken), 'planted');
      return groupPlanner.advance(batches, ...rest);
    },
  };
  const world = await OperationWorld.open(t, open, { planner, free: 2 });
  const { worker, intake, mistakes } = machinery(t, world);
  const batches = [create('before'), create(mistaken), create('behind')].map((one) => world.newBatch([one]));
  await Promise.all(batches.map((batch) => intake.accept(batch)));
  void worker.run();
  const ended = await Promise.all(batches.map(({ id }) => intake.waitEnded(id, deadlineMs)));
  await worker.close();
  t.deepEqual(
    ended.map((batch) => (batch === null ? 'not ended' : words(batch).join())),
    ['done', 'internal', 'done'],
  );
  t.deepEqual(mistakes, ['failed']);
});

test('a store that throws costs a round, not the work', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 1 });
  let advances = 0;
  let settles = 0;
  const store = journalWith(world, {
    groupAdvance: async (options) => {
      advances += 1;
      if (advances === 1) throw new Failure('store-unavailable', 'It does not answer.');
      return world.journal.groupAdvance(options);
    },
    groupSettle: async (outcomes, options) => {
      settles += 1;
      if (settles === 1) throw new Error('connection lost');
      return world.journal.groupSettle(outcomes, options);
    },
  });
  const { worker, ended } = machinery(t, world, store);
  const batch = await world.accept([create('v'), attach('v')]);
  await worker.run();
  t.is(ended.length, 0);
  await worker.run();
  await until(() => settles === 1);
  await until(() => world.node.volumesKnown > 0);
  t.is(await world.journal.effectsRecover({ all: true }), 1);
  await worker.run();
  await until(() => ended.length === 1);
  t.deepEqual(words(await world.batch(batch)), ['done', 'done']);
  await worker.close();
  t.is(await world.leftovers(), '');
});

test('HAZARD 16: a commit whose answer was lost is found again by what it left in the journal', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 2 });
  let lost = 0;
  const loseOnce = <A>(answer: A): A => {
    lost += 1;
    if (lost <= 2) throw new Failure('store-unavailable', 'The outcome is unknown.');
    return answer;
  };
  const store = journalWith(world, {
    groupAdvance: async (options) => loseOnce(await world.journal.groupAdvance(options)),
    groupSettle: async (outcomes, options) => loseOnce(await world.journal.groupSettle(outcomes, options)),
  });
  const { worker, waiters } = machinery(t, world, store);
  const batches = [await world.accept([create('v')]), await world.accept([create('w'), attach('w')])];
  const waiting = batches.map((id) => waiters.wait(id, deadlineMs));
  for (let round = 0; round < 3; round += 1) {
    await worker.run();
    await world.journal.effectsRecover({ all: true });
  }
  await worker.run();
  const found = await Promise.all(waiting);
  t.deepEqual(
    found.map((batch) => (batch === null ? [] : words(batch))),
    [['done'], ['done', 'done']],
  );
  await worker.close();
  t.is(await world.leftovers(), '');
});

function destructions(count: number): Effect[] {
  return Array.from({ length: count }, (_, index) => ({
    operation: `batch_${index}-0`,
    storageNode: 'node',
    kind: 'destroy' as const,
    request: { volumeId: `vol_${index}`, generation: 1, backend: 'file' },
  }));
}

test('planning waits while too many effects are under way', async (t) => {
  const world = await OperationWorld.open(t, open);
  const held = world.node.inject({ effect: 'delay', kind: 'destroy', times: 100_000 });
  let advances = 0;
  const store = journalWith(world, {
    groupAdvance: async () => {
      advances += 1;
      return advances <= 3 ? { ...nothing, effects: destructions(4_001), batches: 1, more: true } : nothing;
    },
    groupSettle: async () => nothing,
  });
  const { worker } = machinery(t, world, store);
  const running = worker.run();
  await until(() => advances >= 2);
  await new Promise((resolve) => setImmediate(resolve));
  t.is(advances, 2);
  held.release();
  held.end();
  await running;
  await worker.close();
  t.true(advances >= 4);
});

test('a call that comes with the last look is looked after', async (t) => {
  const world = await OperationWorld.open(t, open);
  let advances = 0;
  const store = journalWith(world, {
    groupAdvance: async () => {
      advances += 1;
      return nothing;
    },
  });
  const { worker } = machinery(t, world, store);
  for (let turns = 0; turns < 12; turns += 1) {
    const running = worker.run();
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
    const before = advances;
    await Promise.all([running, worker.run()]);
    t.true(advances > before, `${turns} turns`);
  }
  await worker.close();
});

test('a close waits for what is under way and for what that leads to, and then calls the store no more', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 1 });
  let calls = 0;
  const counted = async <A>(work: Promise<A>): Promise<A> => {
    calls += 1;
    return work;
  };
  const store = journalWith(world, {
    groupAdvance: (options) => counted(world.journal.groupAdvance(options)),
    groupSettle: (outcomes, options) => counted(world.journal.groupSettle(outcomes, options)),
  });
  const { worker } = machinery(t, world, store);
  const problem = { code: 'device-error', detail: 'It is broken.' } as const;
  world.node.inject({ effect: 'fail', kind: 'export', problem });
  const slow = [
    world.node.inject({ effect: 'delay', kind: 'export' }),
    world.node.inject({ effect: 'delay', kind: 'unexport' }),
  ];
  const batch = await world.accept([create('v'), attach('v')] satisfies OperationSpec[]);
  await worker.run();
  const closing = worker.close();
  for (const fault of slow) fault.release();
  await closing;
  const atClose = calls;
  await worker.run();
  t.deepEqual(words(await world.batch(batch)), ['done', 'storage-failed']);
  t.is(calls, atClose);
  t.is(await world.leftovers(), '');
});

test('a thousand batches at once are all answered', async (t) => {
  const world = await OperationWorld.open(t, open);
  const { intake, worker, queue } = machinery(t, world);
  queue.onWake(() => worker.run());
  const batches: NewBatch[] = Array.from({ length: 1_000 }, (_, index) => world.newBatch([permit(`n${index}`)]));
  const answers = await Promise.all(
    batches.map(async (batch) => {
      await intake.accept(batch);
      return intake.waitEnded(batch.id, deadlineMs);
    }),
  );
  t.true(answers.every((batch) => batch?.state === 'ended'));
  await worker.close();
  t.is(await world.leftovers(), '');
});
