import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { FollowedStore } from '../../../src/agent/followed-store.ts';
import { Failure } from '../../../src/domain/errors.ts';
import type { InventoryBegun } from '../../../src/domain/host.ts';

interface World {
  readonly path: string;
  /** What the controller answers next. */
  answer: () => Promise<InventoryBegun>;
  asked: number;
  forgotten: number;
  readonly errors: string[];
  open(bootId?: string): Promise<FollowedStore>;
}

async function makeWorld(t: ExecutionContext): Promise<World> {
  const directory = await mkdtemp(join(tmpdir(), 'followed-store-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const world: World = {
    path: join(directory, 'followed-store.json'),
    answer: begun(10),
    asked: 0,
    forgotten: 0,
    errors: [],
    open: (bootId = 'boot-1') =>
      FollowedStore.open({
        path: world.path,
        bootId,
        host: {
          forgetEpochs: async () => {
            world.forgotten += 1;
          },
        },
        logger: { info: () => {}, warn: () => {}, error: (_, message) => world.errors.push(message) },
        begin: () => {
          world.asked += 1;
          return world.answer();
        },
      }),
  };
  return world;
}

function begun(sequence: number, storeId = 'one', replacedStoreIds: readonly string[] = []) {
  return async () => ({ sequence, storeId, replacedStoreIds });
}

async function refusal(t: ExecutionContext, call: Promise<unknown>): Promise<string> {
  const error = await t.throwsAsync(call, { instanceOf: Failure });
  return error.code;
}

test('the first store that is seen is followed from then on, over restarts', async (t) => {
  const world = await makeWorld(t);
  t.is((await (await world.open()).follow()).sequence, 10);
  const later = await world.open();
  t.deepEqual(later.state, { id: 'one', problem: null });
  world.answer = begun(10_000, 'two');
  t.is(await refusal(t, later.follow()), 'store-foreign');
  world.answer = begun(9);
  t.is(await refusal(t, later.follow()), 'store-foreign');
  world.answer = begun(10);
  await later.follow();
  t.deepEqual(later.state, { id: 'one', problem: null });
  t.is(world.errors.length, 1);
});

test('an answer that comes late is not taken for a store that fell behind', async (t) => {
  const world = await makeWorld(t);
  const store = await world.open();
  let answerFirst = () => {};
  world.answer = () =>
    new Promise((resolve) => {
      answerFirst = () => resolve(begun(10)());
    });
  const first = store.follow();
  world.answer = begun(11);
  const second = store.follow();
  setImmediate(() => answerFirst());
  t.deepEqual([(await first).sequence, (await second).sequence], [10, 11]);
});

test('before something is mounted the store is asked for once, and again after the controller was away', async (t) => {
  const world = await makeWorld(t);
  const store = await world.open();
  for (let call = 0; call < 3; call += 1) await store.ensure();
  t.is(world.asked, 1);
  store.doubt();
  await store.ensure();
  t.is(world.asked, 2);
  world.answer = begun(1, 'two');
  t.is(await refusal(t, store.follow()), 'store-foreign');
  t.is(await refusal(t, store.ensure()), 'store-foreign');
});

test('an adopted store is followed at whatever number, and the former epochs are forgotten once', async (t) => {
  const world = await makeWorld(t);
  await (await world.open()).follow();
  world.answer = begun(3, 'two', ['zero', 'one']);
  const store = await world.open();
  for (let call = 0; call < 2; call += 1) await store.follow();
  t.is(world.forgotten, 1);
  t.true(store.isJustAdopted);
  t.true((await world.open()).isJustAdopted);
  t.false((await world.open('boot-2')).isJustAdopted);
  world.answer = begun(20, 'one');
  t.is(await refusal(t, store.follow()), 'store-foreign');
});

test('a stamp that cannot be read is no permission to follow another store', async (t) => {
  const world = await makeWorld(t);
  await writeFile(world.path, '{}');
  t.is(await refusal(t, world.open()), 'data-damaged');
});

test('how far the store has come is written later where the disk is full, and what is behind is refused all the same', async (t) => {
  const world = await makeWorld(t);
  const followed = await world.open();
  await followed.follow();
  await symlink('/dev/full', `${world.path}.new`);
  world.answer = begun(12);
  await followed.follow();
  world.answer = begun(11);
  t.is(await refusal(t, followed.follow()), 'store-foreign');
  world.answer = begun(12);
  await followed.follow();
  world.answer = begun(11);
  t.is(await refusal(t, (await world.open()).follow()), 'store-foreign');
});
