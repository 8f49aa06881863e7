/** Hosts, what they report of their attachments, and storage nodes. */
import test, { type ExecutionContext } from 'ava';
import { sql } from 'kysely';
import { parseQosLimits } from '../../src/domain/qos.ts';
import type { HostStateReport } from '../../src/store/store.ts';
import { admin, firstPage, initiatorPort, type OpenWorld, refusal, type StoreWorld } from '../support/store-world.ts';

export function storeHostsSuite(open: OpenWorld): void {
  hostTests(open);
  reportTests(open);
  detachTests(open);
  inventoryTests(open);
  storageNodeTests(open);
}

const otherPort = { ...initiatorPort, wwpn: '20:00:02:00:00:00:00:b0' };

function hostTests(open: OpenWorld): void {
  test('a host that registers again unchanged is seen, and takes no commit', async (t) => {
    const world = await open(t);
    const host = await world.host();
    await sql`UPDATE hosts SET last_seen_at = 0`.execute(world.database.kysely);
    const commit = await world.commit();
    const again = await world.resources.hostRegister(host, admin);
    t.true(again.lastSeenAt > 0);
    t.like(again, { version: 1, state: 'online', initiatorPorts: [initiatorPort] });
    t.is(await world.commit(), commit);
  });

  test('a host that comes back with another boot and other ports has exactly these', async (t) => {
    const world = await open(t);
    await world.host({ initiatorPorts: [initiatorPort, otherPort] });
    await world.host({ bootId: 'boot2', initiatorPorts: [{ ...otherPort, state: 'offline' }] });
    const host = await world.resources.hostGet('host1');
    t.like(host, { bootId: 'boot2', version: 2 });
    t.deepEqual(host?.initiatorPorts, [{ ...otherPort, state: 'offline' }]);
  });

  test('HAZARD 13: another machine under the name, or with a port of another host, is refused', async (t) => {
    const world = await open(t);
    await world.host();
    t.is(await refusal(world.host({ machineId: 'clone' })), 'host-conflict');
    t.is(await refusal(world.host({ name: 'host2', machineId: 'clone' })), 'host-conflict');
    await world.host({ name: 'host2', machineId: 'machine2', initiatorPorts: [otherPort] });
    t.is(await refusal(world.host({ initiatorPorts: [initiatorPort, otherPort] })), 'host-conflict');
    t.deepEqual((await world.resources.hostGet('host1'))?.initiatorPorts, [initiatorPort]);
    t.is(await world.resources.hostGet('host3'), null);
  });

  test('HAZARD 13: a host is bound to its token until that one is deleted', async (t) => {
    const world = await open(t);
    const { resources } = world;
    const host = await world.host();
    const token = (id: string) => ({ id, name: id, role: 'host', host: 'host1' }) as const;
    await resources.tokenCreate({ ...token('token1'), hash: 'a', expiresAt: null });
    await resources.hostRegister(host, token('token1'));
    t.is(await refusal(resources.hostRegister(host, token('token2'))), 'host-conflict');
    t.is((await resources.hostRegister(host, admin)).name, 'host1');
    t.is(await refusal(resources.hostRegister({ ...host, name: 'host2' }, token('token1'))), 'forbidden');
    await resources.tokenDelete('token1');
    t.is((await resources.hostRegister(host, token('token2'))).name, 'host1');
  });

  test('a host that has been silent is offline until it registers again', async (t) => {
    const world = await open(t);
    const host = await world.host();
    t.deepEqual(await world.maintenance.hostsExpire(60_000), []);
    await sql`UPDATE hosts SET last_seen_at = last_seen_at - 61000`.execute(world.database.kysely);
    t.deepEqual(await world.maintenance.hostsExpire(60_000), ['host1']);
    t.deepEqual(await world.maintenance.hostsExpire(60_000), []);
    t.is((await world.resources.hostGet('host1'))?.state, 'offline');
    t.is((await world.resources.hostRegister(host, admin)).state, 'online');
  });

  test('HAZARD 13: a host with an attachment is not deleted, quarantined ones included', async (t) => {
    const world = await open(t);
    const attachment = await attached(world, { state: 'quarantined', hostSide: 'attached' });
    t.is(await refusal(world.resources.hostDelete('host1')), 'resource-in-use');
    await world.detach(attachment);
    await world.resources.hostDelete('host1');
    t.is(await world.resources.hostGet('host1'), null);
    t.is(await refusal(world.resources.hostDelete('host1')), 'host-not-found');
    await world.host({ name: 'host2', machineId: 'machine2' });
    t.deepEqual(
      (await world.resources.hostList(firstPage)).items.map(({ name }) => name),
      ['host2'],
    );
  });
}

type Attachment = Parameters<StoreWorld['attach']>[1];

/** A host with an attachment of an allocated volume. */
async function attached(world: StoreWorld, change: Attachment = {}): Promise<string> {
  const [id = ''] = await world.filledPool({ minFree: 1 });
  await world.host();
  await world.allocate(id, 'data');
  return world.attach(id, change);
}

const base = { epoch: 1, host: 'host1', bootId: 'boot1', proof: null } as const;

async function report(
  world: StoreWorld,
  change: Partial<HostStateReport> & Pick<HostStateReport, 'attachment' | 'side'>,
) {
  const [answer] = await world.resources.hostStateReport([{ ...base, ...change }]);
  if (answer === undefined) return null;
  return answer.ok ? answer.attachment : answer.problem.code;
}

async function sideOf(world: StoreWorld, id: string) {
  const attachment = await world.resources.attachmentGet(id);
  return attachment === null ? null : `${attachment.state}/${attachment.hostSide}`;
}

function reportTests(open: OpenWorld): void {
  test('a host claims, attaches and formats, each as often as it likes', async (t) => {
    const world = await open(t);
    const attachment = await attached(world);
    await sql`UPDATE volumes SET formatted = 0`.execute(world.database.kysely);
    for (const _ of [1, 2]) {
      t.like(await report(world, { attachment, side: 'claimed' }), { state: 'exported', hostSide: 'claimed' });
    }
    for (const _ of [1, 2]) {
      const proof = { device: '/dev/loop7' };
      t.like(await report(world, { attachment, side: 'attached', proof }), { state: 'attached', formatted: false });
    }
    t.like(await report(world, { attachment, side: 'claimed' }), { state: 'attached', hostSide: 'attached' });
    for (const _ of [1, 2]) t.like(await report(world, { attachment, side: 'formatted' }), { formatted: true });
    t.true((await world.resources.volumeGet('data'))?.formatted);
  });

  test('a report is answered with what is read afterwards', async (t) => {
    const world = await open(t);
    const attachment = await attached(world);
    await sql`UPDATE volumes SET formatted = 0`.execute(world.database.kysely);
    for (const side of ['claimed', 'formatted', 'attached', 'attached', 'gone'] as const) {
      const answer = await report(world, { attachment, side });
      t.deepEqual(answer, await world.resources.attachmentGet(attachment), side);
    }
  });

  test('one call takes reports of many attachments in order, and answers each', async (t) => {
    const world = await open(t);
    const attachment = await attached(world);
    const sides = ['claimed', 'attached', 'formatted'] as const;
    const reports = sides.map((side) => ({ ...base, attachment, side }));
    const answers = await world.resources.hostStateReport([...reports, { ...base, attachment: 'att_0', side: 'gone' }]);
    t.deepEqual(
      answers.map((answer) => (answer.ok ? answer.attachment.state : answer.problem.code)),
      ['attached', 'attached', 'attached', 'attachment-not-found'],
    );
    t.deepEqual(await world.resources.hostStateReport([]), []);
  });

  test('a report of another epoch or another host is refused', async (t) => {
    const world = await open(t);
    const attachment = await attached(world);
    t.is(await report(world, { attachment, side: 'claimed', epoch: 2 }), 'stale-epoch');
    t.is(await report(world, { attachment, side: 'claimed', host: 'host2' }), 'forbidden');
    t.is(await sideOf(world, attachment), 'exported/none');
  });

  test('HAZARD 10: what is being detached, exported or decided about is not claimed', async (t) => {
    const world = await open(t);
    const attachment = await attached(world);
    const become = (state: string, held: string | null) =>
      sql`UPDATE attachments SET state = ${state}, held_by = ${held}`.execute(world.database.kysely);
    const claim = () => report(world, { attachment, side: 'claimed' });
    await become('exporting', null);
    t.is(await claim(), 'volume-not-ready');
    await become('exported', 'batch_1');
    t.is(await claim(), 'resource-held');
    for (const state of ['detaching', 'quarantined']) {
      await become(state, null);
      t.is(await claim(), 'stale-epoch');
      t.is(await report(world, { attachment, side: 'attached' }), 'stale-epoch');
    }
    t.is(await sideOf(world, attachment), 'quarantined/none');
  });

  test('HAZARD 11: the report of a format counts for the medium that was formatted, and for no other', async (t) => {
    const world = await open(t);
    const attachment = await attached(world, { hostSide: 'claimed' });
    await sql`UPDATE volumes SET formatted = 0, media_generation = media_generation + 1`.execute(world.database.kysely);
    t.is(await report(world, { attachment, side: 'formatted' }), 'stale-epoch');
    t.false((await world.resources.volumeGet('data'))?.formatted);
  });
}

function detachTests(open: OpenWorld): void {
  for (const state of ['detaching', 'quarantined'] as const) {
    test(`"gone" lets the detach go on that waits for it (${state})`, async (t) => {
      const world = await open(t);
      const batch = await world.batch();
      const attachment = await attached(world, { state, hostSide: 'attached', pendingOperation: `${batch}-0` });
      t.false(await world.isReady(batch));
      t.like(await report(world, { attachment, side: 'gone' }), { state, hostSide: 'gone' });
      t.true(await world.isReady(batch));
    });
  }

  test('"gone" of what nobody asked to detach leaves it exported', async (t) => {
    const world = await open(t);
    const attachment = await attached(world, { state: 'attached', hostSide: 'attached', bootId: 'boot1' });
    t.like(await report(world, { attachment, side: 'gone' }), { state: 'exported', hostSide: 'none' });
    t.like(await report(world, { attachment, side: 'gone' }), { state: 'exported', hostSide: 'none' });
  });

  test('a claim after a reboot takes the place of what the last boot had', async (t) => {
    const world = await open(t);
    const attachment = await attached(world, { state: 'attached', hostSide: 'attached', bootId: 'boot0' });
    t.like(await report(world, { attachment, side: 'claimed' }), { state: 'exported', hostSide: 'claimed' });
  });
}

async function scan(world: StoreWorld, present: readonly string[], sequence?: number, bootId = 'boot1') {
  const begun = sequence ?? (await world.resources.inventoryBegin('host1')).sequence;
  return world.resources.inventoryReport({ host: 'host1', bootId, sequence: begun, present });
}

async function wantedAfter(t: ExecutionContext, world: StoreWorld, attachment: string): Promise<string> {
  const { wanted } = await scan(world, []);
  t.deepEqual(
    wanted.map(({ id }) => id),
    [attachment],
  );
  return `${wanted[0]?.state}/${wanted[0]?.hostSide}`;
}

function inventoryTests(open: OpenWorld): void {
  test('an inventory answers what the host should have and what it should not', async (t) => {
    const world = await open(t);
    const attachment = await attached(world);
    const commit = await world.commit();
    const { wanted, unwanted } = await scan(world, [attachment, 'att_unknown']);
    t.deepEqual(wanted, [await world.resources.attachmentGet(attachment)]);
    t.deepEqual(unwanted, ['att_unknown']);
    t.is(await world.commit(), commit);
    t.is(await refusal(world.resources.inventoryBegin('host9')), 'host-not-found');
  });

  test('HAZARD 19: after a reboot what was attached is wanted anew, and what was detaching is gone', async (t) => {
    const world = await open(t);
    const attachment = await attached(world, { state: 'attached', hostSide: 'attached', bootId: 'boot0' });
    t.is(await wantedAfter(t, world, attachment), 'exported/none');
    const batch = await world.batch();
    await sql`UPDATE attachments SET state = 'detaching', host_side = 'attached', host_boot_id = 'boot0',
      pending_operation = ${`${batch}-0`}`.execute(world.database.kysely);
    t.is(await wantedAfter(t, world, attachment), 'detaching/gone');
    t.true(await world.isReady(batch));
  });

  test('HAZARD 19: a claim of an earlier boot is void', async (t) => {
    const world = await open(t);
    const attachment = await attached(world, { hostSide: 'claimed', bootId: 'boot0' });
    t.is(await wantedAfter(t, world, attachment), 'exported/none');
  });

  test('HAZARD 19: a claim that came with its attach is void once the host registers with another boot', async (t) => {
    const world = await open(t);
    const attachment = await attached(world, { hostSide: 'claimed' });
    t.is(await wantedAfter(t, world, attachment), 'exported/claimed');
    await world.host({ bootId: 'boot2' });
    const { wanted } = await scan(world, [], undefined, 'boot2');
    t.like(wanted[0], { id: attachment, state: 'exported', hostSide: 'none' });
  });

  test('without a reboot, absence proves nothing; nor does a claim whose boot is not known', async (t) => {
    const world = await open(t);
    const attachment = await attached(world, { state: 'detaching', hostSide: 'attached', bootId: 'boot1' });
    t.is(await wantedAfter(t, world, attachment), 'detaching/attached');
    await sql`UPDATE attachments SET state = 'exported', host_side = 'claimed', host_boot_id = NULL`.execute(
      world.database.kysely,
    );
    t.is(await wantedAfter(t, world, attachment), 'exported/claimed');
  });

  test('HAZARD 9: an inventory that began before an attachment changed says nothing about it', async (t) => {
    const world = await open(t);
    await world.host();
    const { sequence: before } = await world.resources.inventoryBegin('host1');
    const attachment = await attached(world, { state: 'attached', hostSide: 'attached', bootId: 'boot0' });
    await scan(world, [], before);
    t.is(await sideOf(world, attachment), 'attached/attached');
    await scan(world, []);
    t.is(await sideOf(world, attachment), 'exported/none');
  });

  test('HAZARD 9: an older inventory, or one of another boot, is refused', async (t) => {
    const world = await open(t);
    await attached(world);
    const { sequence: older } = await world.resources.inventoryBegin('host1');
    await world.resources.qosPolicyCreate({ ...limitless, name: 'gold' });
    await scan(world, []);
    t.is(await refusal(scan(world, [], older)), 'stale-epoch');
    t.is(await refusal(scan(world, [], undefined, 'boot0')), 'stale-epoch');
    const unknown = { host: 'host9', bootId: 'boot1', sequence: 1, present: [] };
    t.is(await refusal(world.resources.inventoryReport(unknown)), 'host-not-found');
  });
}

const limitless = parseQosLimits({});

function storageNodeTests(open: OpenWorld): void {
  const target = { ...initiatorPort, wwpn: '50:00:00:00:00:00:00:01' };
  const node = { name: 'node1', exporter: 'local', backends: ['file'], canFence: false, targetPorts: [target] };

  test('a storage node that registers again unchanged takes no commit, a changed one has exactly what it says', async (t) => {
    const world = await open(t);
    const { resources } = world;
    await resources.storageNodeRegister(node);
    const commit = await world.commit();
    t.like(await resources.storageNodeRegister(node), { version: 1, targetPorts: [target] });
    await sql`UPDATE storage_nodes SET last_seen_at = 0`.execute(world.database.kysely);
    await world.maintenance.storageNodeSeen(node.name);
    t.like(await resources.storageNodeGet(node.name), { version: 1 });
    t.true(((await resources.storageNodeGet(node.name))?.lastSeenAt ?? 0) > 0);
    t.is(await world.commit(), commit);
    await resources.storageNodeRegister({ ...node, canFence: true, targetPorts: [] });
    t.like(await resources.storageNodeGet('node1'), { canFence: true, backends: ['file'], version: 2 });
    t.deepEqual((await resources.storageNodeList(firstPage)).items[0]?.targetPorts, []);
    t.is(await resources.storageNodeGet('node9'), null);
  });

  test('HAZARD 13: a port belongs to one storage node or to one host', async (t) => {
    const world = await open(t);
    await world.resources.storageNodeRegister(node);
    await world.host();
    t.is(await refusal(world.resources.storageNodeRegister({ ...node, name: 'node2' })), 'host-conflict');
    t.is(await refusal(world.host({ initiatorPorts: [target] })), 'host-conflict');
    const stolen = { ...node, targetPorts: [initiatorPort] };
    t.is(await refusal(world.resources.storageNodeRegister(stolen)), 'host-conflict');
  });
}
