/** Flow and QoS policies, tokens, leases, lists. */
import test from 'ava';
import { sql } from 'kysely';
import { newId } from '../../src/domain/ids.ts';
import { parseQosLimits } from '../../src/domain/qos.ts';
import { firstPage, type OpenWorld, refusal, type StoreWorld } from '../support/store-world.ts';

export function storePoliciesSuite(open: OpenWorld): void {
  flowPolicyTests(open);
  qosPolicyTests(open);
  tokenTests(open);
  leaseTests(open);
  replacementTests(open);
  listTests(open);
}

const initiatorWwpn = '20:00:02:00:00:00:00:a0';
const targetWwpn = '50:00:00:00:00:00:00:01';
const otherTarget = '50:00:00:00:00:00:00:02';
const limitless = parseQosLimits({});

/** A policy as its operation leaves it; '' is any. */
async function flowPolicy(
  world: StoreWorld,
  change: Partial<Record<'initiator' | 'target' | 'state' | 'namespace', string>>,
) {
  const id = newId('flow');
  const { initiator = '', target = '', state = 'active', namespace = '' } = change;
  await world.database.change(async (tx) => {
    await sql`
      INSERT INTO flow_policies (id, initiator_wwpn, target_wwpn, namespace, action, redirect_to, qos_policy, state, held_by,
        pending_operation, created_at, version)
      VALUES (${id}, ${initiator}, ${target}, ${namespace}, 'deny', NULL, NULL, ${state}, NULL, NULL, 0, 1)`.execute(
      tx.db,
    );
  });
  return id;
}

function flowPolicyTests(open: OpenWorld): void {
  test('a flow is decided by the most exact policy in force, else by the default', async (t) => {
    const world = await open(t);
    const ask = (namespace: string | null) =>
      world.resources
        .flowResolve({ initiatorWwpn, targetWwpn, namespace })
        .then(({ action, policy }) => policy?.id ?? action);
    t.is(await ask(null), 'permit');
    await flowPolicy(world, { target: targetWwpn, state: 'pending' });
    t.is(await ask(null), 'permit');
    const any = await flowPolicy(world, { initiator: initiatorWwpn });
    const pair = await flowPolicy(world, { initiator: initiatorWwpn, target: targetWwpn });
    const own = await flowPolicy(world, { initiator: initiatorWwpn, target: targetWwpn, namespace: 'one' });
    await flowPolicy(world, { initiator: initiatorWwpn, target: otherTarget, namespace: 'one' });
    t.deepEqual([await ask('one'), await ask('two'), await ask(null)], [own, pair, pair]);
    const other = { initiatorWwpn, targetWwpn: '50:00:00:00:00:00:00:09', namespace: null };
    t.is((await world.resources.flowResolve(other)).policy?.id, any);
  });

  test('a flow policy is changed only at the version that was read, and never while a batch holds it', async (t) => {
    const world = await open(t);
    const { resources } = world;
    const id = await flowPolicy(world, { target: targetWwpn });
    const redirect = { action: 'redirect', redirectTo: otherTarget } as const;
    t.like(await resources.flowPolicyUpdate(id, redirect, 1), { ...redirect, version: 2, initiatorWwpn: null });
    t.is(await refusal(resources.flowPolicyUpdate(id, redirect, 1)), 'etag-mismatch');
    t.is(await refusal(resources.flowPolicyUpdate('flow_0', redirect, 1)), 'flow-policy-not-found');
    t.like(await resources.flowPolicyUpdate(id, { action: 'permit' }, 2), { action: 'permit', redirectTo: null });
    await sql`UPDATE flow_policies SET held_by = 'batch_1'`.execute(world.database.kysely);
    t.is(await refusal(resources.flowPolicyUpdate(id, {}, 3)), 'resource-held');
    t.is((await resources.flowPolicyGet(id))?.version, 3);
  });

  test('a redirect needs a port, other actions have none, and a QoS policy must exist', async (t) => {
    const world = await open(t);
    const id = await flowPolicy(world, {});
    const update = (change: object) => refusal(world.resources.flowPolicyUpdate(id, change, 1));
    t.is(await update({ action: 'redirect' }), 'invalid-request');
    t.is(await update({ redirectTo: otherTarget }), 'invalid-request');
    t.is(await update({ qosPolicy: 'gold' }), 'qos-policy-not-found');
  });

  test('flow policies are listed by what they name', async (t) => {
    const world = await open(t);
    const one = await flowPolicy(world, { target: targetWwpn, namespace: 'one' });
    const two = await flowPolicy(world, { initiator: initiatorWwpn, target: targetWwpn });
    const list = async (filter: object) => {
      const { items } = await world.resources.flowPolicyList(filter, firstPage);
      return items.map(({ id }) => id);
    };
    t.deepEqual(await list({}), [one, two]);
    t.deepEqual(await list({ namespace: 'one' }), [one]);
    t.deepEqual(await list({ initiatorWwpn }), [two]);
    t.deepEqual(await list({ targetWwpn, namespace: 'two' }), []);
  });
}

function qosPolicyTests(open: OpenWorld): void {
  test('a QoS policy is created once, changed at its version, and says that nothing enforces it', async (t) => {
    const world = await open(t);
    const { resources } = world;
    const gold = { ...limitless, name: 'gold', maxTotalIops: 1000 };
    t.like(await resources.qosPolicyCreate(gold), { existing: false });
    t.like(await resources.qosPolicyCreate(gold), { existing: true });
    t.is(await refusal(resources.qosPolicyCreate({ ...gold, weight: 7 })), 'name-taken');
    t.like(await resources.qosPolicyUpdate('gold', { ...limitless, weight: 7 }, 1), { weight: 7, maxTotalIops: null });
    t.is(await refusal(resources.qosPolicyUpdate('gold', limitless, 1)), 'etag-mismatch');
    t.is(await refusal(resources.qosPolicyUpdate('tin', limitless, 1)), 'qos-policy-not-found');
    t.like(await resources.qosPolicyGet('gold'), { weight: 7, version: 2, enforced: false });
  });

  test('a QoS policy that a volume or a flow policy names is not deleted', async (t) => {
    const world = await open(t);
    const { resources } = world;
    await resources.qosPolicyCreate({ ...limitless, name: 'gold' });
    const [id = ''] = await world.filledPool({ minFree: 1 });
    const flow = await flowPolicy(world, {});
    await sql`UPDATE volumes SET qos_policy = 'gold' WHERE id = ${id}`.execute(world.database.kysely);
    t.is(await refusal(resources.qosPolicyDelete('gold', null)), 'resource-in-use');
    await sql`UPDATE volumes SET qos_policy = NULL`.execute(world.database.kysely);
    await resources.flowPolicyUpdate(flow, { qosPolicy: 'gold' }, 1);
    t.is(await refusal(resources.qosPolicyDelete('gold', null)), 'resource-in-use');
    await resources.flowPolicyUpdate(flow, { qosPolicy: null }, 2);
    t.is(await refusal(resources.qosPolicyDelete('gold', 7)), 'etag-mismatch');
    await resources.qosPolicyDelete('gold', 1);
    t.is(await resources.qosPolicyGet('gold'), null);
    t.is(await refusal(resources.qosPolicyDelete('gold', null)), 'qos-policy-not-found');
  });
}

function tokenTests(open: OpenWorld): void {
  const token = { id: 'token1', name: 'ci', hash: 'aa', role: 'operator', host: null, expiresAt: null } as const;

  test('a token is found by its hash until it is deleted', async (t) => {
    const { resources } = await open(t);
    t.like(await resources.tokenCreate(token), { id: 'token1', role: 'operator' });
    t.deepEqual(await resources.tokenFind('aa'), { id: 'token1', name: 'ci', role: 'operator', host: null });
    t.is(await resources.tokenFind('bb'), null);
    t.false(JSON.stringify(await resources.tokenList(firstPage)).includes('aa'));
    await resources.tokenDelete('token1');
    t.is(await resources.tokenFind('aa'), null);
    t.is(await refusal(resources.tokenDelete('token1')), 'token-not-found');
  });

  test('a token that has run out is not found', async (t) => {
    const { resources } = await open(t);
    await resources.tokenCreate({ ...token, expiresAt: Date.now() - 1_000 });
    await resources.tokenCreate({
      ...token,
      id: 'token2',
      name: 'later',
      hash: 'bb',
      expiresAt: Date.now() + 3_600_000,
    });
    t.is(await resources.tokenFind('aa'), null);
    t.is((await resources.tokenFind('bb'))?.id, 'token2');
  });

  test('names and hashes of tokens are unique, and creating the same one again answers it', async (t) => {
    const { resources } = await open(t);
    const created = await resources.tokenCreate(token);
    t.deepEqual(await resources.tokenCreate(token), created);
    t.is(await refusal(resources.tokenCreate({ ...token, id: 'token2', hash: 'bb' })), 'name-taken');
    t.is(await refusal(resources.tokenCreate({ ...token, id: 'token2', name: 'other' })), 'name-taken');
  });
}

function leaseTests(open: OpenWorld): void {
  test('HAZARD 7: a lease has one owner at a time, and its token rises with every owner', async (t) => {
    const { maintenance, database } = await open(t);
    t.is(await maintenance.leaseTake('recovery', 'one', 60_000), 1);
    t.is(await maintenance.leaseTake('recovery', 'one', 60_000), 1);
    t.is(await maintenance.leaseTake('recovery', 'two', 60_000), null);
    t.is(await maintenance.leaseTake('other', 'two', 60_000), 1);
    await maintenance.leaseDrop('recovery', 'two');
    t.is(await maintenance.leaseTake('recovery', 'two', 60_000), null);
    await maintenance.leaseDrop('recovery', 'one');
    t.is(await maintenance.leaseTake('recovery', 'two', 60_000), 2);
    await sql`UPDATE leases SET until = until - 60001`.execute(database.kysely);
    t.is(await maintenance.leaseTake('recovery', 'one', 60_000), 3);
  });

  test('everybody can see whether a lease is held', async (t) => {
    const { maintenance, database } = await open(t);
    t.false(await maintenance.leaseHeld('recovery'));
    await maintenance.leaseTake('recovery', 'one', 60_000);
    t.true(await maintenance.leaseHeld('recovery'));
    t.false(await maintenance.leaseHeld('other'));
    await sql`UPDATE leases SET until = until - 60001`.execute(database.kysely);
    t.false(await maintenance.leaseHeld('recovery'));
  });

  test('HAZARD 7: of many who ask at once one gets the lease', async (t) => {
    const world = await open(t);
    const others = [world, world.another(), world.another()];
    const tokens = await Promise.all(
      others.map(({ maintenance }, index) => maintenance.leaseTake('recovery', `owner${index}`, 60_000)),
    );
    t.deepEqual(
      tokens.filter((token) => token !== null),
      [1],
    );
  });

  test('HAZARD 2: a store keeps its identity, and is raised above a generation that was seen elsewhere', async (t) => {
    const world = await open(t);
    const { storeId, highestGeneration } = await world.maintenance.storeStamp();
    await world.maintenance.generationRaise(highestGeneration + 1_000);
    await world.maintenance.generationRaise(highestGeneration);
    t.deepEqual(await world.another().maintenance.storeStamp(), {
      storeId,
      highestGeneration: highestGeneration + 1_000,
    });
    await world.pool({ minFree: 1 });
    const [effect] = await world.maintenance.refillReserve('pool', 1);
    t.true((effect?.request.generation ?? 0) > highestGeneration + 1_000);
  });
}

function replacementTests(open: OpenWorld): void {
  test('HAZARD 2: a store that takes the place of another one has a new id, and names all that it replaces', async (t) => {
    const world = await open(t);
    await world.host();
    const first = await world.resources.inventoryBegin('host1');
    t.deepEqual(first.replacedStoreIds, []);
    await world.maintenance.storeReplaces('former');
    const second = await world.another().resources.inventoryBegin('host1');
    t.not(second.storeId, first.storeId);
    t.deepEqual(second.replacedStoreIds.toSorted(), [first.storeId, 'former'].toSorted());
    t.is((await world.maintenance.storeStamp()).storeId, second.storeId);
    await world.maintenance.storeReplaces('former');
    t.is((await world.maintenance.storeStamp()).storeId, second.storeId);
    await world.maintenance.storeReplaces(second.storeId);
    t.true((await world.resources.inventoryBegin('host1')).replacedStoreIds.includes(second.storeId));
  });
}

function listTests(open: OpenWorld): void {
  test('lists go on behind the last row that was shown, whatever happened in between', async (t) => {
    const world = await open(t);
    const { resources } = world;
    for (const name of ['a', 'b', 'd', 'e']) await resources.qosPolicyCreate({ ...limitless, name });
    const first = await resources.qosPolicyList({ pageSize: 2, pageToken: null });
    await resources.qosPolicyDelete('b', null);
    await resources.qosPolicyCreate({ ...limitless, name: 'c' });
    const second = await resources.qosPolicyList({ pageSize: 2, pageToken: first.nextPageToken });
    const last = await resources.qosPolicyList({ pageSize: 2, pageToken: second.nextPageToken });
    const pages = [first, second, last].map(({ items }) => items.map(({ name }) => name).join(''));
    t.deepEqual(pages, ['ab', 'cd', 'e']);
    t.is(last.nextPageToken, null);
    t.is(await refusal(resources.qosPolicyList({ pageSize: 2, pageToken: '***' })), 'invalid-request');
  });

  test('volumes are listed by state, pool, host and label', async (t) => {
    const world = await open(t);
    const [one = '', two = ''] = await world.filledPool({ minFree: 2 });
    await world.host();
    await world.allocate(one, 'data');
    const attachment = await world.attach(one);
    await sql`UPDATE volumes SET labels = '{"app.kubernetes.io/name":"web","7":"x"}' WHERE id = ${one}`.execute(
      world.database.kysely,
    );
    const list = async (filter: object) => {
      const { items } = await world.resources.volumeList(filter, firstPage);
      return items.map(({ id }) => id);
    };
    t.deepEqual(await list({}), [one, two]);
    t.deepEqual(await list({ state: 'free' }), [two]);
    t.deepEqual(await list({ pool: 'pool', host: 'host1' }), [one]);
    t.deepEqual(await list({ pool: 'other' }), []);
    t.deepEqual(await list({ label: 'app.kubernetes.io/name' }), [one]);
    t.deepEqual(await list({ label: 'app.kubernetes.io/name=web' }), [one]);
    t.deepEqual(await list({ label: '7=x' }), [one]);
    t.deepEqual(await list({ label: 'app.kubernetes.io/name=db' }), []);
    t.deepEqual(await list({ label: 'app' }), []);
    const attachments = [{ id: attachment, host: 'host1', state: 'exported' }];
    t.deepEqual((await world.resources.volumeGet('data'))?.attachments, attachments);
    const found = await world.resources.attachmentList({ volume: 'data', host: 'host1', state: 'exported' }, firstPage);
    t.like(found.items[0], { id: attachment, volume: 'data', volumeId: one, epoch: 1 });
    t.deepEqual((await world.resources.attachmentList({ volume: two }, firstPage)).items, []);
  });
}
