/**
 * Every operation, alone and in all-or-nothing batches, with the process ending at each of its steps once, and with
 * each effect failing, being lost or landing late. Afterwards everything has ended, nothing is held, and store and
 * storage node say the same.
 */
import test, { type ExecutionContext } from 'ava';
import { problem } from '../../src/domain/errors.ts';
import type { Atomicity, OperationSpec } from '../../src/domain/operation.ts';
import type { CallKind } from '../../src/storage-node/simulator/faults.ts';
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
  words,
} from '../support/operation-world.ts';
import { sqliteWorld } from '../support/store-world.ts';

const open = sqliteWorld();

interface Scenario {
  readonly name: string;
  readonly atomicity: Atomicity;
  /** What is there before, by operations that all succeed; `x` is a name of this run's own. */
  readonly before?: (x: string) => readonly OperationSpec[];
  readonly batch: (x: string, known: Known) => readonly OperationSpec[];
  readonly words: readonly string[];
}

/** Ids of what was there before. */
interface Known {
  readonly attachments: readonly string[];
  readonly policies: readonly string[];
}

const first = ([id = '']: readonly string[]) => id;
const aborted = 'batch-aborted';

const scenarios: readonly Scenario[] = [
  { name: 'create from the pool', atomicity: 'per-operation', batch: (x) => [create(x)], words: ['done'] },
  { name: 'create on demand', atomicity: 'per-operation', batch: (x) => [createOnDemand(x)], words: ['done'] },
  {
    name: 'delete',
    atomicity: 'per-operation',
    before: (x) => [create(x)],
    batch: (x) => [remove(x)],
    words: ['done'],
  },
  {
    name: 'attach',
    atomicity: 'per-operation',
    before: (x) => [create(x)],
    batch: (x) => [attach(x)],
    words: ['done'],
  },
  {
    name: 'two readers',
    atomicity: 'per-operation',
    before: (x) => [create(x)],
    batch: (x) => [attachReader(x, 'host1'), attachReader(x, 'host2')],
    words: ['done', 'done'],
  },
  {
    name: 'detach',
    atomicity: 'per-operation',
    before: (x) => [create(x), attach(x)],
    batch: (_, { attachments }) => [detach(first(attachments))],
    words: ['done'],
  },
  {
    name: 'create, attach, detach of another, delete of it',
    atomicity: 'per-operation',
    before: (x) => [create(`${x}old`), attach(`${x}old`)],
    batch: (x, { attachments }) => [
      createOnDemand(x),
      attach(x),
      detach(first(attachments)),
      remove(`${x}old`),
      create(`${x}old`),
    ],
    words: ['done', 'done', 'done', 'done', 'done'],
  },
  {
    name: 'flow policies',
    atomicity: 'per-operation',
    before: (x) => [permit(`${x}old`)],
    batch: (x, { policies }) => [permit(x), removePolicy(first(policies))],
    words: ['done', 'done'],
  },
  {
    name: 'all without effects',
    atomicity: 'all-or-nothing',
    before: (x) => [create(`${x}old`), permit(`${x}old`)],
    batch: (x, { policies }) => [
      create(x),
      remove(`${x}old`),
      create(`${x}old`),
      permit(x),
      removePolicy(first(policies)),
    ],
    words: ['done', 'done', 'done', 'done', 'done'],
  },
  {
    name: 'all kinds',
    atomicity: 'all-or-nothing',
    before: (x) => [create(`${x}old`), create(`${x}other`), attach(`${x}other`), permit(`${x}old`)],
    batch: (x, { attachments, policies }) => [
      createOnDemand(x),
      attach(x),
      create(`${x}b`),
      attachReader(`${x}b`, 'host1'),
      attachReader(`${x}b`, 'host2'),
      remove(`${x}old`),
      detach(first(attachments)),
      permit(x),
      removePolicy(first(policies), 1),
    ],
    words: Array(9).fill('done'),
  },
  {
    name: 'detach and delete of one volume',
    atomicity: 'all-or-nothing',
    before: (x) => [create(`${x}old`), attach(`${x}old`)],
    batch: (x, { attachments }) => [createOnDemand(x), detach(first(attachments)), remove(`${x}old`)],
    words: ['done', 'done', 'done'],
  },
  {
    name: 'what fails once it is known',
    atomicity: 'all-or-nothing',
    before: (x) => [create(`${x}old`), permit(`${x}old`)],
    batch: (x, { policies }) => [
      createOnDemand(x),
      attach(x),
      attach(x, 'host2'),
      create(`${x}b`),
      permit(x),
      remove(`${x}old`),
      removePolicy(first(policies)),
    ],
    words: [aborted, aborted, 'volume-in-use', aborted, aborted, aborted, aborted],
  },
];

let runs = 0;

async function begin(world: OperationWorld, { before, batch, atomicity }: Scenario): Promise<string> {
  runs += 1;
  const x = `run${runs}x`;
  await world.refill(6);
  const known = before === undefined ? null : await world.run(before(x));
  const made = (known?.operations ?? []).flatMap(({ resource }) => (resource === null ? [] : [resource]));
  const idsOf = (kind: string) => made.filter((one) => one.kind === kind).map(({ id }) => id);
  return world.accept(batch(x, { attachments: idsOf('attachment'), policies: idsOf('flow-policy') }), atomicity);
}

async function endsWell(t: ExecutionContext, world: OperationWorld, id: string, why: string): Promise<void> {
  await world.settleDown();
  t.is((await world.batch(id)).state, 'ended', why);
  t.is(await world.leftovers(), '', why);
}

const stepsMax = 60;

for (const scenario of scenarios) {
  const { name, atomicity } = scenario;

  test(`HAZARD 6: ${name} (${atomicity}) survives the end of the process at every step`, async (t) => {
    const world = await OperationWorld.open(t, open);
    let crashes = 0;
    for (let step = 1; step <= stepsMax; step += 1) {
      const id = await begin(world, scenario);
      const crashed = await world.settleDownCrashing(step);
      await endsWell(t, world, id, `crash at step ${step}`);
      t.deepEqual(words(await world.batch(id)), scenario.words, `crash at step ${step}`);
      if (!crashed) break;
      crashes += 1;
    }
    t.true(crashes > 0 && crashes < stepsMax, `${crashes} crashes`);
    await world.wipe();
    t.is(await world.leftovers(), '');
  });
}

const kinds: readonly CallKind[] = ['provision', 'destroy', 'export', 'unexport'];
const refused = problem('device-error', 'The medium is broken.');

const faults = {
  'fails once': { effect: 'fail', problem: refused },
  'is lost before it happened': { effect: 'throw' },
  'is lost after it happened': { effect: 'throw', landed: true },
  'lands late': { effect: 'late' },
} as const;

for (const [what, fault] of Object.entries(faults)) {
  for (const scenario of scenarios) {
    const { name, atomicity } = scenario;
    test(`HAZARD 1: whatever effect of ${name} (${atomicity}) ${what}, nothing leaks`, async (t) => {
      const world = await OperationWorld.open(t, open);
      for (const kind of kinds) {
        for (const times of [1, 3]) {
          const id = await begin(world, scenario);
          const injected = world.node.inject({ ...fault, kind, times });
          const why = `${times} ${kind}`;
          await endsWell(t, world, id, why);
          injected.end();
          injected.release();
          await world.node.lateEffectsSettled();
          t.is(await world.leftovers(), '', `${why}, landed late`);
          if (what !== 'fails once') t.deepEqual(words(await world.batch(id)), scenario.words, why);
        }
      }
    });
  }
}
