/** Batches that take effect as a whole or not at all, and what others see of them meanwhile. */
import test, { type ExecutionContext } from 'ava';
import { problem } from '../../src/domain/errors.ts';
import {
  attach,
  attachReader,
  create,
  createOnDemand,
  detach,
  OperationWorld,
  permit,
  poolDefaults,
  remove,
  removePolicy,
  words,
} from '../support/operation-world.ts';
import { firstPage, sqliteWorld } from '../support/store-world.ts';

const open = sqliteWorld();
const begin = (t: ExecutionContext) => OperationWorld.open(t, open, { free: 6 });
const broken = problem('device-error', 'The medium is broken.');
const unheard = '20:00:02:00:00:00:00:ff';

async function ended(t: ExecutionContext, world: OperationWorld, id: string, expected: readonly string[]) {
  const batch = await world.batch(id);
  t.deepEqual(words(batch), [...expected]);
  t.is(batch.state, 'ended');
  t.is(await world.leftovers(), '');
}

test('HAZARD 6: a batch without effects is decided in one commit, each operation on what the ones before it did', async (t) => {
  const world = await begin(t);
  const batch = await world.accept([create('a'), remove('a'), create('a'), create('a')], 'all-or-nothing');
  const answer = await world.advance();
  t.deepEqual(
    answer.ended.map(({ id, decision }) => [id, decision]),
    [[batch, 'commit']],
  );
  await ended(t, world, batch, ['done', 'done', 'done', 'existing']);
});

test('what a batch makes and takes away again is answered as it was in between', async (t) => {
  const world = await begin(t);
  const made = await world.run([permit('n'), create('v')]);
  const [policy] = made.operations.flatMap(({ resource }) => resource?.id ?? []);
  const batch = await world.run([permit('n'), removePolicy(policy ?? ''), create('v'), remove('v')], 'all-or-nothing');
  await ended(t, world, batch.id, ['existing', 'done', 'existing', 'done']);
  t.like(batch.operations[0]?.resource, { kind: 'flow-policy', id: policy, state: 'active' });
  t.like(batch.operations[2]?.resource, { kind: 'volume', name: 'v', state: 'allocated' });
});

test('HAZARD 6: one refusal leaves nothing of the batch, and says whose it was', async (t) => {
  const world = await begin(t);
  const batch = await world.run([create('a'), permit('n'), remove('nobody'), create('b')], 'all-or-nothing');
  await ended(t, world, batch.id, ['batch-aborted', 'batch-aborted', 'volume-not-found', 'batch-aborted']);
  t.is(await world.store.resources.volumeGet('a'), null);
  t.deepEqual((await world.store.resources.flowPolicyList({}, firstPage)).items, []);
});

test('HAZARD 6: an effect that fails takes all back: deleted and detached are only those of a batch that is decided', async (t) => {
  const world = await begin(t);
  const before = await world.run([create('old'), create('used'), attach('used'), permit('n')]);
  const ids = before.operations.map(({ resource }) => resource?.id ?? '');
  world.node.inject({ effect: 'fail', kind: 'export', problem: broken });
  const batch = await world.run(
    [createOnDemand('new'), attach('new'), remove('old'), detach(ids[2] ?? ''), removePolicy(ids[3] ?? '')],
    'all-or-nothing',
  );
  await ended(t, world, batch.id, ['batch-aborted', 'storage-failed', ...Array(3).fill('batch-aborted')]);
  t.is(batch.decision, 'undoing');
  t.is((await world.store.resources.volumeGet('old'))?.state, 'allocated');
  t.is((await world.attachmentOf('used')).state, 'exported');
  t.not(await world.store.resources.flowPolicyGet(ids[3] ?? ''), null);
  t.is(await world.store.resources.volumeGet('new'), null);
});

test('what was told of a batch that is taken back is taken back too', async (t) => {
  const world = await begin(t);
  world.node.inject({ effect: 'fail', kind: 'provision', problem: broken });
  const since = await world.store.resources.eventsHead();
  await world.run([create('new'), permit('n'), createOnDemand('slow')], 'all-or-nothing');
  const last = new Map<string, string>();
  for (const { kind, id, state } of await world.store.resources.eventsAfter(since, 100))
    last.set(`${kind} ${id}`, state);
  t.deepEqual([...last.values()].sort(), ['ended', 'removed', 'removed', 'wiping']);
});

test('HAZARD 6: others wait for what an undecided batch holds, and then see what became of it', async (t) => {
  for (const fails of [false, true]) {
    const world = await begin(t);
    await world.run([create('old')]);
    const batch = await world.accept([createOnDemand('slow'), create('new'), remove('old')], 'all-or-nothing');
    const { effects } = await world.advance();
    const others = [
      await world.accept([create('new')]),
      await world.accept([attach('old')]),
      await world.accept([create('old')]),
    ];
    const during = await world.advance();
    t.deepEqual(during.ended, []);
    t.deepEqual(during.effects, []);
    if (fails) world.node.inject({ effect: 'fail', kind: 'provision', problem: broken });
    await world.settle(await world.carryOut(effects));
    await world.settleDown();
    const seen = await Promise.all(others.map(async (id) => words(await world.batch(id))));
    t.deepEqual(seen, fails ? [['done'], ['done'], ['existing']] : [['existing'], ['volume-not-found'], ['done']]);
    const expected = fails ? ['storage-failed', 'batch-aborted', 'batch-aborted'] : ['done', 'done', 'done'];
    await ended(t, world, batch, expected);
  }
});

test('HAZARD 14: who comes for a volume whose detach a batch is yet to decide about waits for that', async (t) => {
  for (const fails of [false, true]) {
    const world = await begin(t);
    await world.run([create('taken'), create('kept')]);
    await world.run([attach('taken', 'host1'), attach('kept', 'host1')]);
    const held = await Promise.all(['taken', 'kept'].map(async (name) => (await world.attachmentOf(name)).id));
    const batch = await world.accept([createOnDemand('slow'), ...held.map((id) => detach(id))], 'all-or-nothing');
    const { effects } = await world.advance();
    const others = [await world.accept([attach('taken', 'host2')]), await world.accept([remove('kept')])];
    t.deepEqual((await world.advance()).ended, []);
    if (fails) world.node.inject({ effect: 'fail', kind: 'provision', problem: broken });
    await world.settle(await world.carryOut(effects));
    await world.settleDown();
    const seen = await Promise.all(others.map(async (id) => words(await world.batch(id))));
    t.deepEqual(seen, fails ? [['volume-in-use'], ['volume-in-use']] : [['done'], ['done']]);
    await ended(
      t,
      world,
      batch,
      fails ? ['storage-failed', 'batch-aborted', 'batch-aborted'] : ['done', 'done', 'done'],
    );
  }
});

test('HAZARD 6: what a batch found there already stays as it is until the batch is decided', async (t) => {
  const world = await begin(t);
  const [policy] = (await world.run([permit('a'), create('old')])).operations;
  await world.run([attach('old', 'host1')]);
  const { id } = await world.attachmentOf('old');
  const wishes = [createOnDemand('slow'), permit('a'), create('old'), attach('old', 'host1')];
  const batch = await world.accept(wishes, 'all-or-nothing');
  const { effects } = await world.advance();
  const others = [
    await world.accept([removePolicy(policy?.resource?.id ?? ''), permit('a', { action: 'deny' })]),
    await world.accept([detach(id), remove('old')]),
  ];
  t.deepEqual((await world.advance()).ended, []);
  await world.settle(await world.carryOut(effects));
  await world.settleDown();
  await ended(t, world, batch, ['done', 'existing', 'existing', 'existing']);
  for (const other of others) await ended(t, world, other, ['done', 'done']);
});

test('HAZARD 6: a batch that waited goes on as if it came just then, its operations not behind one another', async (t) => {
  const world = await begin(t);
  await world.run([create('old')]);
  await world.accept([createOnDemand('slow'), create('held')], 'all-or-nothing');
  const { effects } = await world.advance();
  const waiting = await world.accept(
    [create('held'), create('b'), attach('b'), attach('held', 'host2')],
    'all-or-nothing',
  );
  const replacing = await world.accept(
    [remove('held'), create('held'), remove('old'), create('old')],
    'all-or-nothing',
  );
  const renewing = await world.accept([remove('old'), create('old'), create('held')], 'all-or-nothing');
  t.deepEqual((await world.advance()).ended, []);
  await world.settle(await world.carryOut(effects));
  await world.settleDown();
  await ended(t, world, waiting, ['existing', 'done', 'done', 'done']);
  await ended(t, world, renewing, ['done', 'done', 'existing']);
  await ended(t, world, replacing, ['volume-in-use', 'batch-aborted', 'batch-aborted', 'batch-aborted']);
});

test('HAZARD 14: operations behind the one that an all-or-nothing batch waits for keep their places too', async (t) => {
  const world = await begin(t);
  await world.accept([createOnDemand('slow'), create('held')], 'all-or-nothing');
  const { effects } = await world.advance();
  const waiting = await world.accept([attach('held'), remove('nobody'), create('late')], 'all-or-nothing');
  const replaced = await world.accept([create('held'), remove('absent'), create('late')], 'all-or-nothing');
  const later = await world.accept([create('late', { pool: poolDefaults.name, labels: { mine: 'yes' } })]);
  t.deepEqual((await world.advance()).ended, []);
  await world.settle(await world.carryOut(effects));
  await world.settleDown();
  await ended(t, world, waiting, ['batch-aborted', 'volume-not-found', 'batch-aborted']);
  await ended(t, world, replaced, ['batch-aborted', 'volume-not-found', 'batch-aborted']);
  await ended(t, world, later, ['done']);
});

test('HAZARD 6: once it is decided, nobody waits for a detach that its host has to confirm', async (t) => {
  const world = await begin(t);
  await world.run([create('used'), attach('used')]);
  const attachment = await world.attachmentOf('used');
  await world.hostSays(attachment, 'claimed');
  const batch = await world.accept([createOnDemand('new'), detach(attachment.id)], 'all-or-nothing');
  const { effects } = await world.advance();
  const other = await world.accept([attach('new')]);
  await world.advance();
  await world.settle(await world.carryOut(effects));
  await world.settleDown();
  t.deepEqual(words(await world.batch(batch)), ['done', 'running']);
  t.deepEqual(words(await world.batch(other)), ['done']);
  await world.hostSays(attachment, 'gone');
  await world.settleDown();
  await ended(t, world, batch, ['done', 'done']);
});

test('HAZARD 6: a name that is given anew behind its deletion refused where the deletion has to wait for effects', async (t) => {
  const world = await begin(t);
  await world.run([create('old')]);
  const replacing = await world.run([createOnDemand('a'), remove('old'), create('old')], 'all-or-nothing');
  await ended(t, world, replacing.id, ['batch-aborted', 'batch-aborted', 'resource-in-use']);
  t.is((await world.store.resources.volumeGet('old'))?.state, 'allocated');
});

test('a volume is detached and deleted by one batch, and goes to nobody in between', async (t) => {
  const world = await begin(t);
  await world.run([create('used'), attach('used')]);
  const attachment = await world.attachmentOf('used');
  await world.hostSays(attachment, 'claimed');
  const batch = await world.accept([detach(attachment.id), remove('used')], 'all-or-nothing');
  const other = await world.accept([attach('used', 'host2'), remove('used'), create('used')]);
  await world.settleDown();
  t.deepEqual(words(await world.batch(batch)), ['running', 'running']);
  t.deepEqual(words(await world.batch(other)), ['running', 'running', 'running']);
  await world.hostSays(attachment, 'gone');
  await world.settleDown();
  t.deepEqual(words(await world.batch(other)), ['volume-not-found', 'volume-not-found', 'done']);
  await ended(t, world, batch, ['done', 'done']);
});

test('a deletion goes on with the end of the detach that it waits for, not with a lease', async (t) => {
  const world = await begin(t);
  await world.run([create('used'), attach('used')]);
  const { id } = await world.attachmentOf('used');
  const batch = await world.accept([detach(id), remove('used')], 'all-or-nothing');
  const { effects } = await world.advance();
  t.true((await world.settle(await world.carryOut(effects))).more);
  t.deepEqual(
    (await world.advance()).ended.map((one) => one.id),
    [batch],
  );
  await ended(t, world, batch, ['done', 'done']);
});

test('HAZARD 6: a volume that others hold too is neither detached nor deleted, and what follows a detach is refused with a remedy', async (t) => {
  const world = await begin(t);
  const made = await world.run([create('data'), attachReader('data', 'host1'), attachReader('data', 'host2')]);
  const ids = made.operations.slice(1).map(({ resource }) => resource?.id ?? '');
  const one = await world.run([detach(ids[0] ?? ''), remove('data')], 'all-or-nothing');
  await ended(t, world, one.id, ['batch-aborted', 'volume-in-use']);
  const wrongOrder = await world.run([remove('data'), ...ids.map((id) => detach(id))], 'all-or-nothing');
  await ended(t, world, wrongOrder.id, ['volume-in-use', 'batch-aborted', 'batch-aborted']);
  const moved = await world.run([...ids.map((id) => detach(id)), attach('data', 'host3')], 'all-or-nothing');
  await ended(t, world, moved.id, ['batch-aborted', 'batch-aborted', 'resource-in-use']);
  t.regex(moved.operations[2]?.problem?.detail ?? '', /Operation 1 of the batch .* batch of its own, after this one/);
  t.is((await world.store.resources.volumeGet('data'))?.attachments.length, 2);
  const both = await world.run([...ids.map((id) => detach(id)), remove('data')], 'all-or-nothing');
  await ended(t, world, both.id, ['done', 'done', 'done']);
});

test('HAZARD 6: a batch that detaches and deletes leaves both as they were where something else of it fails', async (t) => {
  const world = await begin(t);
  await world.run([create('used'), attach('used')]);
  const { id } = await world.attachmentOf('used');
  world.node.inject({ effect: 'fail', kind: 'provision', problem: broken });
  const batch = await world.run([createOnDemand('new'), detach(id), remove('used')], 'all-or-nothing');
  await ended(t, world, batch.id, ['storage-failed', 'batch-aborted', 'batch-aborted']);
  t.is((await world.attachmentOf('used')).state, 'exported');
  t.deepEqual(words(await world.run([attach('used')])), ['existing']);
});

test('two readers of one volume are detached by one batch', async (t) => {
  const world = await begin(t);
  const made = await world.run([create('data'), attachReader('data', 'host1'), attachReader('data', 'host2')]);
  const ids = made.operations.slice(1).map(({ resource }) => resource?.id ?? '');
  const batch = await world.run(
    ids.map((id) => detach(id)),
    'all-or-nothing',
  );
  await ended(t, world, batch.id, ['done', 'done']);
});

test('a policy keeps its ETag while a batch decides about it, and a new one is answered with the ETag that it has', async (t) => {
  const world = await begin(t);
  const made = await world.run([createOnDemand('a'), permit('n')], 'all-or-nothing');
  const policy = made.operations[1]?.resource;
  t.like(await world.store.resources.flowPolicyGet(policy?.id ?? ''), { version: policy?.version, state: 'active' });
  world.node.inject({ effect: 'fail', kind: 'provision', problem: broken });
  await world.run([createOnDemand('b'), removePolicy(policy?.id ?? '', 1)], 'all-or-nothing');
  t.is((await world.store.resources.flowPolicyGet(policy?.id ?? ''))?.version, 1);
  const batch = await world.run([createOnDemand('b'), removePolicy(policy?.id ?? '', 1)], 'all-or-nothing');
  await ended(t, world, batch.id, ['done', 'done']);
});

test('HAZARD 6: a policy of an undecided batch decides its own attaches, and those of others wait for it', async (t) => {
  const deny = permit('n', { action: 'deny' });
  for (const fails of [false, true]) {
    const world = await begin(t);
    await world.run([create('data')]);
    const attachThere = attach('data', 'host1', { namespace: 'n' });
    const denied = await world.run([deny, attachThere], 'all-or-nothing');
    await ended(t, world, denied.id, ['batch-aborted', 'host-unreachable-paths']);
    const held = await world.accept([createOnDemand('slow'), deny], 'all-or-nothing');
    const { effects } = await world.advance();
    const other = await world.accept([attachThere]);
    t.deepEqual((await world.advance()).effects, []);
    if (fails) world.node.inject({ effect: 'fail', kind: 'provision', problem: broken });
    await world.settle(await world.carryOut(effects));
    await world.settleDown();
    await ended(t, world, held, fails ? ['storage-failed', 'batch-aborted'] : ['done', 'done']);
    await ended(t, world, other, [fails ? 'done' : 'host-unreachable-paths']);
  }
});

test('a redirect to a port that leads nowhere is a refusal of that attach alone', async (t) => {
  const world = await begin(t);
  const batch = await world.run([
    create('data'),
    permit('n', { action: 'redirect', redirectTo: unheard }),
    attach('data', 'host1', { namespace: 'n' }),
    create('other'),
  ]);
  await ended(t, world, batch.id, ['done', 'done', 'host-unreachable-paths', 'done']);
});
