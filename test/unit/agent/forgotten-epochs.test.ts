import test from 'ava';
import { ForgottenEpochs } from '../../../src/agent/forgotten-epochs.ts';
import { limits } from '../../../src/config/limits.ts';

interface World {
  readonly served: Set<string>;
  readonly asked: string[];
  readonly epochs: ForgottenEpochs;
}

/** A host that has served volumes of which the store still has some; more than `kept` are too many. */
function worldOf(served: readonly string[], stored: readonly string[], kept: number): World {
  const remembered = new Set(served);
  const asked: string[] = [];
  const controller = {
    volumeGet: async (id: string) => {
      asked.push(id);
      return stored.includes(id) ? { id } : null;
    },
  };
  const host = {
    servedVolumes: () => remembered.values(),
    forgetEpochs: async (ids: readonly string[]) => {
      for (const id of ids) remembered.delete(id);
    },
  };
  const link = { call: <T>(ask: (port: typeof controller) => T) => ask(controller) };
  const context = { host, link, limits: { epochs: kept } };
  return { served: remembered, asked, epochs: new ForgottenEpochs(context as never) };
}

const nowhere = () => false;

test('epochs are forgotten of volumes that the store does not have, once there are many', async (t) => {
  const few = worldOf(['a', 'b'], [], 2);
  await few.epochs.run(nowhere);
  t.deepEqual([[...few.served], few.asked], [['a', 'b'], []]);
  const many = worldOf(['a', 'b', 'c'], ['b'], 2);
  await many.epochs.run(nowhere);
  t.deepEqual([...many.served], ['b']);
});

test('HAZARDS 2: an epoch is kept of a volume of which something is here, whatever the store says', async (t) => {
  const world = worldOf(['a', 'b', 'c'], [], 1);
  await world.epochs.run((id) => id === 'b');
  t.deepEqual([...world.served], ['b']);
  t.deepEqual(world.asked, ['a', 'c']);
});

test('a run looks at a bounded number, and the next ones at the others', async (t) => {
  const living = Array.from({ length: limits.agentEpochsLooked + 1 }, (_, at) => `living${at}`);
  const world = worldOf([...living, 'gone'], living, 1);
  await world.epochs.run(nowhere);
  t.is(world.asked.length, limits.agentEpochsLooked);
  t.true(world.served.has('gone'));
  await world.epochs.run(nowhere);
  t.false(world.served.has('gone'));
  await world.epochs.run(nowhere);
  t.is(world.asked.at(-1), living.at(limits.agentEpochsLooked - 1));
});

test('a controller that cannot be asked is no reason to forget anything', async (t) => {
  const world = worldOf(['a', 'b'], [], 1);
  const failing = { call: () => Promise.reject(new Error('away')) };
  const host = { servedVolumes: () => world.served.values(), forgetEpochs: () => t.fail() };
  const epochs = new ForgottenEpochs({ host, link: failing, limits: { epochs: 1 } } as never);
  await t.throwsAsync(epochs.run(nowhere), { message: 'away' });
  t.is(world.served.size, 2);
});
