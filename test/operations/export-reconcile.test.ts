/** The storage node is brought in line with the store; what could not be done of it, and what no effect can mend, is told. */
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { type ErrorCode, Failure, problem } from '../../src/domain/errors.ts';
import { ExportReconcile } from '../../src/maintenance/export-reconcile.ts';
import { Ownership } from '../../src/maintenance/ownership.ts';
import { SimulatedStorageNode } from '../../src/storage-node/simulator/simulated-storage-node.ts';
import type { StorageNode } from '../../src/storage-node/storage-node.ts';
import { attach, create, OperationWorld, words } from '../support/operation-world.ts';
import { sqliteWorld } from '../support/store-world.ts';

const open = sqliteWorld();
const silent = pino({ level: 'silent' });

function reconcile(
  { store: { maintenance: store }, node }: OperationWorld,
  others: readonly StorageNode[] = [],
): Promise<number> {
  const nodes = new Map([...others, node].map((each) => [each.name, each]));
  return new ExportReconcile({ store, nodes, ownership: new Ownership(store), log: silent }).run();
}

const path = { initiatorWwpn: '20:00:02:00:00:00:00:a1', targetWwpn: '20:00:02:00:00:00:00:b1', lun: 7 };
const medium = { backend: 'file', sizeBytes: 2 ** 24, filesystem: null };

/** An export and a medium that nobody wants, and an attachment whose export is gone. */
async function outOfLine(t: ExecutionContext): Promise<OperationWorld> {
  const world = await OperationWorld.open(t, open, { free: 2 });
  t.deepEqual(words(await world.run([create('v'), attach('v')])), ['done', 'done']);
  const { id } = await world.attachmentOf('v');
  const { exports } = await world.node.inventory();
  const { volumeId = '', generation = 0 } = exports[0] ?? {};
  const [stray, orphan] = [{ volumeId: 'vol_stray' }, { volumeId: 'vol_stray', attachmentId: 'att_orphan' }];
  await world.node.unexport([{ attachmentId: id, volumeId, generation, paths: [] }]);
  await world.node.provision([{ ...medium, ...stray, generation: 1, mediaGeneration: 1 }]);
  const serial = { serial: 's', wwid: 'w', epoch: 1, readOnly: false, mediaGeneration: 1 };
  await world.node.export([{ ...orphan, ...serial, generation: 1, paths: [path] }]);
  return world;
}

test('what the store does not want goes, and what it wants is there again', async (t) => {
  const world = await outOfLine(t);
  t.is(await reconcile(world), 3);
  t.is(await world.leftovers(), '');
  t.is(await reconcile(world), 0);
});

test('a storage node that does not answer is told, and keeps no other from being brought in line', async (t) => {
  const world = await outOfLine(t);
  const away = new SimulatedStorageNode({ name: 'away' });
  away.inventory = () => Promise.reject(new Error('it does not answer'));
  await t.throwsAsync(reconcile(world, [away]), { message: /"away": it does not answer/ });
  t.is(await world.leftovers(), '');
});

test('a stray is destroyed by the backend that has it', async (t) => {
  const world = await outOfLine(t);
  const { inventory, destroy } = world.node;
  world.node.inventory = async () => {
    const { media, exports } = await inventory.call(world.node);
    return { exports, media: media.map((each) => ({ ...each, backend: 'reflink' })) };
  };
  const backends: string[] = [];
  world.node.destroy = (requests) => {
    backends.push(...requests.map(({ backend }) => backend));
    return destroy.call(world.node, requests);
  };
  t.is(await reconcile(world), 3);
  t.deepEqual(backends, ['reflink']);
});

test('each effect that fails is told, the others are carried out, and a later run tries again', async (t) => {
  const world = await outOfLine(t);
  for (const kind of ['unexport', 'export', 'destroy'] as const) {
    world.node.inject({ effect: 'fail', kind, problem: problem('device-busy', `No ${kind}.`) });
  }
  const error = await t.throwsAsync(reconcile(world), { instanceOf: Failure });
  t.is(
    error.message,
    'One attachment could not be unexported: No unexport. One attachment could not be exported: No export. ' +
      'One volume could not be destroyed: No destroy.',
  );
  t.is(await reconcile(world), 3);
  t.is(await world.leftovers(), '');
});

test('an effect that a later round has overtaken is no failure', async (t) => {
  const world = await outOfLine(t);
  const stale: ErrorCode = 'stale-generation';
  world.node.inject({ effect: 'fail', kind: 'export', problem: problem(stale, 'It comes too late.') });
  t.is(await reconcile(world), 2);
});

test('HAZARD 2: a medium that the store does not know of a volume that it knows is told and left alone', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 1 });
  t.deepEqual(words(await world.run([create('v')])), ['done']);
  const { id = '', mediaGeneration = 0, generation = 0 } = (await world.store.resources.volumeGet('v')) ?? {};
  const later = generation + 1;
  await world.node.provision([{ ...medium, volumeId: id, generation, mediaGeneration: later }]);
  const detail = `${id} has a medium of generation ${later}; the store knows ${mediaGeneration}`;
  await t.throwsAsync(reconcile(world), { message: `One volume could not be matched: ${detail}.` });
  t.like((await world.node.inventory()).media, [{ volumeId: id, mediaGeneration: later }]);
});

test('HAZARD 9: a wipe that ends between the looks at node and store leaves no mismatch', async (t) => {
  const world = await OperationWorld.open(t, open, { free: 1 });
  const { inventory } = world.node;
  let looks = 0;
  world.node.inventory = async () => {
    const found = await inventory.call(world.node);
    looks += 1;
    if (looks > 1) return found;
    return { ...found, media: found.media.map((each) => ({ ...each, mediaGeneration: each.mediaGeneration - 1 })) };
  };
  t.is(await reconcile(world), 0);
  t.is(looks, 2);
});
