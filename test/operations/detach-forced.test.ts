/** A host that does not answer: forced detach, what stays taken, and what its later word does. */
import test, { type ExecutionContext } from 'ava';
import { attach, attachReader, create, detach, OperationWorld, remove, words } from '../support/operation-world.ts';
import { firstPage, sqliteWorld } from '../support/store-world.ts';

const open = sqliteWorld();

/** A volume whose host says that it has the device. */
async function attached(t: ExecutionContext, canFence = true) {
  const world = await OperationWorld.open(t, open, { canFence, free: 2 });
  t.deepEqual(words(await world.run([create('data'), attach('data')])), ['done', 'done']);
  const attachment = await world.attachmentOf('data');
  await world.hostSays(attachment, 'claimed');
  await world.hostSays(attachment, 'attached');
  return { world, attachment };
}

async function statesOf(world: OperationWorld): Promise<string[]> {
  const { items } = await world.store.resources.attachmentList({}, firstPage);
  return items.map(({ host, state }) => `${host} ${state}`).sort();
}

test('HAZARD 10: a detach waits for the host, and its word lets it end', async (t) => {
  const { world, attachment } = await attached(t);
  const batch = await world.run([detach(attachment.id)]);
  t.deepEqual(words(batch), ['running']);
  t.is((await world.node.inventory()).exports.length, 1);
  await world.hostSays(attachment, 'gone');
  await world.settleDown();
  t.deepEqual(words(await world.batch(batch.id)), ['done']);
  t.is(await world.leftovers(), '');
  t.deepEqual(await statesOf(world), []);
});

test('HAZARD 10: without a target that can fence, force is refused until the host has confirmed, also behind a detach', async (t) => {
  const { world, attachment } = await attached(t, false);
  t.deepEqual(words(await world.run([detach(attachment.id, true)])), ['cannot-fence']);
  const waiting = await world.run([detach(attachment.id)]);
  const [refused] = (await world.run([detach(attachment.id, true)])).operations;
  t.like(refused?.problem, { code: 'cannot-fence', related: { host: 'host1', attachment: attachment.id } });
  t.deepEqual(words(await world.run([detach(attachment.id, true)], 'all-or-nothing')), ['cannot-fence']);
  await world.hostSays(attachment, 'gone');
  await world.settleDown();
  t.deepEqual(words(await world.batch(waiting.id)), ['done']);
  t.is(await world.leftovers(), '');
});

test('HAZARD 10: force cuts the host off; its LUN number stays taken until the host says "gone"', async (t) => {
  const { world, attachment } = await attached(t);
  t.deepEqual(words(await world.run([detach(attachment.id, true)])), ['done']);
  t.deepEqual(await statesOf(world), ['host1 quarantined']);
  t.deepEqual((await world.node.inventory()).exports, []);
  t.deepEqual(words(await world.run([create('other'), attach('other')])), ['done', 'done']);
  t.not((await world.attachmentOf('other')).paths[0]?.lun, attachment.paths[0]?.lun);
  t.deepEqual(words(await world.run([attach('data')])), ['volume-in-use']);
  await world.hostSays(attachment, 'gone');
  t.deepEqual(await statesOf(world), ['host1 exported']);
  t.is(await world.leftovers(), '');
  t.deepEqual(words(await world.run([attach('data')])), ['done']);
  t.is((await world.attachmentOf('data')).paths[0]?.lun, attachment.paths[0]?.lun);
});

test('HAZARD 10: force overtakes a detach that waits for the host, which ends once the host answers', async (t) => {
  const { world, attachment } = await attached(t);
  const waiting = await world.run([detach(attachment.id)]);
  t.deepEqual(words(await world.run([detach(attachment.id, true)])), ['done']);
  t.deepEqual(await statesOf(world), ['host1 quarantined']);
  t.deepEqual(words(await world.batch(waiting.id)), ['running']);
  await world.hostSays(attachment, 'gone');
  await world.settleDown();
  t.deepEqual(words(await world.batch(waiting.id)), ['done']);
  t.is(await world.leftovers(), '');
});

test('HAZARD 6: a detach of a decided batch that force has overtaken has reached its goal, and the deletion behind it too', async (t) => {
  const { world, attachment } = await attached(t);
  const decided = await world.run([detach(attachment.id), remove('data')], 'all-or-nothing');
  t.deepEqual(words(decided), ['running', 'running']);
  const forced = await world.accept([detach(attachment.id, true)]);
  const { effects } = await world.advance();
  await world.hostSays(attachment, 'gone');
  await world.settle(await world.carryOut(effects));
  await world.settleDown();
  t.deepEqual(words(await world.batch(forced)), ['done']);
  t.deepEqual(words(await world.batch(decided.id)), ['done', 'done']);
  t.is(await world.leftovers(), '');
});

test('HAZARD 10: a force that overtakes survives the end of the process at every step', async (t) => {
  for (let step = 1, crashed = true; crashed && step < 20; step += 1) {
    const { world, attachment } = await attached(t);
    await world.run([detach(attachment.id)]);
    const forced = await world.accept([detach(attachment.id, true)]);
    crashed = await world.settleDownCrashing(step);
    await world.settleDown();
    t.deepEqual(words(await world.batch(forced)), ['done']);
    t.deepEqual(await statesOf(world), ['host1 quarantined']);
    await world.hostSays(attachment, 'gone');
    await world.settleDown();
    t.is(await world.leftovers(), '', `step ${step}`);
  }
});

for (const side of ['gone', 'silent'] as const) {
  test(`HAZARD 8: detaching what is quarantined takes nothing from the volume’s next writer (host ${side})`, async (t) => {
    const { world, attachment } = await attached(t);
    await world.run([detach(attachment.id, true)]);
    t.deepEqual(words(await world.run([attach('data', 'host2')])), ['done']);
    const again = await world.run([detach(attachment.id, side === 'silent')]);
    t.deepEqual(words(again), [side === 'silent' ? 'done' : 'running']);
    t.deepEqual(await statesOf(world), ['host1 quarantined', 'host2 exported']);
    t.deepEqual(words(await world.run([attach('data', 'host3')])), ['volume-in-use']);
    await world.hostSays(attachment, 'gone');
    await world.settleDown();
    t.deepEqual(words(await world.batch(again.id)), ['done']);
    t.deepEqual(await statesOf(world), ['host2 exported']);
    t.deepEqual(words(await world.run([attach('data', 'host3')])), ['volume-in-use']);
    t.is(await world.leftovers(), '');
  });
}

test('HAZARD 8: a reader that is cut off and detached again is counted once', async (t) => {
  const world = await OperationWorld.open(t, open, { canFence: true, free: 1 });
  await world.run([create('data'), attachReader('data', 'host1'), attachReader('data', 'host2')]);
  const attachments = (await world.store.resources.attachmentList({ host: 'host1' }, firstPage)).items;
  for (const attachment of attachments) {
    await world.hostSays(attachment, 'claimed');
    await world.run([detach(attachment.id, true)]);
    await world.run([detach(attachment.id)]);
    await world.hostSays(attachment, 'gone');
    await world.settleDown();
  }
  t.is(attachments.length, 1);
  t.deepEqual(words(await world.run([remove('data')])), ['volume-in-use']);
  t.is(await world.leftovers(), '');
});

test('a quarantined attachment of a volume that was deleted can still be detached, and only then it is wiped', async (t) => {
  const { world, attachment } = await attached(t);
  await world.run([detach(attachment.id, true)]);
  t.deepEqual(words(await world.run([remove('data')])), ['done']);
  await world.wipe();
  t.is(await world.store.maintenance.wipeBacklog(), 1);
  const batch = await world.run([detach(attachment.id)]);
  await world.hostSays(attachment, 'gone');
  await world.settleDown();
  t.deepEqual(words(await world.batch(batch.id)), ['done']);
  await world.wipe();
  t.is(await world.store.maintenance.wipeBacklog(), 0);
  t.is(await world.leftovers(), '');
});
