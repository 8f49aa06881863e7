import test, { type ExecutionContext } from 'ava';
import { Failure } from '../../../src/domain/errors.ts';
import { AgentWorld, hostName } from '../../support/agent-world.ts';
import { Crash, CrashGate } from '../../support/crash-gate.ts';

const nothing = { left: 0, kept: 0, remade: 0, released: 0, foreign: 0, failed: 0 };

test('a host in order is left alone', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  await agent.mount({ volume: 'data' });
  const { calls } = world.host;
  calls.length = 0;
  t.deepEqual((await agent.reconcile()).outcomes, nothing);
  t.deepEqual(calls, ['discoverPorts', 'inventory']);
});

test('HAZARDS 9: reality is read after the sequence was taken and before the intent', async (t) => {
  const world = await AgentWorld.make(t);
  const order: string[] = [];
  const { controller, host } = world;
  for (const [name, target] of [
    ['inventoryBegin', controller],
    ['inventory', host],
    ['attachmentList', controller],
  ] as const) {
    const method: unknown = Reflect.get(target, name);
    if (typeof method !== 'function') continue;
    Reflect.set(target, name, (...args: unknown[]) => {
      order.push(name);
      return Reflect.apply(method, target, args);
    });
  }
  const agent = await world.start();
  await agent.reconcile();
  t.deepEqual(order, ['inventoryBegin', 'inventory', 'attachmentList']);
});

test('HAZARDS 9: mounts made while the reconciler reads are neither reported missing nor undone', async (t) => {
  const world = await AgentWorld.make(t);
  const names = Array.from({ length: 20 }, (_, index) => `v${index}`);
  for (const name of names) world.addVolume(name);
  const agent = await world.start();
  const mounts = names.map((volume) => agent.mount({ volume }));
  const runs = Promise.all(Array.from({ length: 5 }, () => agent.reconcile()));
  await Promise.all([...mounts, runs]);
  await agent.reconcile();
  t.is(world.host.mounts.length, names.length);
  t.true([...world.controller.attachments.values()].every(({ state }) => state === 'attached'));
  t.deepEqual(world.violations, []);
});

test('an inventory that cannot be read reports nothing and removes nothing', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  await agent.mount({ volume: 'data' });
  world.host.unreadable = true;
  t.is((await agent.reconcile()).problem, 'the devices cannot be read');
  t.deepEqual(world.controller.presence, []);
  t.deepEqual(world.state(agent), world.complete('data'));
});

test('HAZARDS 19: after a reboot what is still wanted is mounted again', async (t) => {
  const world = await AgentWorld.make(t);
  for (const name of ['a', 'b']) world.addVolume(name);
  const before = await world.start();
  for (const volume of ['a', 'b']) await before.mount({ volume });
  await before.mount({ volume: 'b', path: '/mnt/second' });
  world.host.reboot();
  world.controller.reports.length = 0;
  const agent = await world.start();
  t.is((await agent.reconcile()).outcomes.remade, 2);
  t.deepEqual(world.host.mounts.map(({ path }) => path).sort(), ['/mnt/second', world.path('a'), world.path('b')]);
  t.deepEqual(
    world.controller.reports.map(({ side }) => side),
    ['attached', 'attached'],
  );
  t.is(world.controller.reports.at(-1)?.bootId, 'boot-2');
});

test('HAZARDS 10: what the controller has taken back is not mounted again after a reboot', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const before = await world.start();
  const { held } = await before.mount({ volume: 'data' });
  world.host.reboot();
  world.controller.attachments.delete(held?.target.attachmentId ?? '');
  const other = { volume: 'data', host: 'node2', accessMode: 'single-writer' as const, claim: true };
  await world.controller.attachmentCreate(other);
  const agent = await world.start();
  world.host.calls.length = 0;
  await agent.reconcile();
  t.deepEqual(agent.mounts(), []);
  t.false(world.host.calls.includes('attach') || world.host.calls.includes('mount'));
  t.is(world.host.devices.length, 0);
});

test('HAZARDS 10: a device whose epoch is over is cleaned, not remounted', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  const { held } = await agent.mount({ volume: 'data' });
  world.controller.attachments.delete(held?.target.attachmentId ?? '');
  await world.controller.attachmentCreate({ volume: 'data', host: hostName, accessMode: 'single-writer' });
  await agent.reconcile();
  t.deepEqual(agent.mounts(), []);
  t.is(world.host.devices.length, 0);
  t.is(world.host.mounts.length, 0);
  t.deepEqual(
    [...world.controller.attachments.values()].map(({ hostSide }) => hostSide),
    ['none'],
  );
});

test('HAZARDS 2: a controller whose store knows less than this host moves nothing', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  await agent.mount({ volume: 'data' });
  world.controller.attachments.clear();
  world.controller.volumes.clear();
  t.is((await agent.reconcile()).outcomes.foreign, 1);
  t.is(world.host.mounts.length, 1);
  t.is(agent.mounts().length, 1);
});

test('HAZARDS 12: a device without an attachment is removed', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  world.host.devices.push(
    { path: '/dev/loop7', volumeId: 'vol_data', mediaGeneration: 1 },
    { path: '/dev/loop8', volumeId: 'vol_deleted', mediaGeneration: 3 },
  );
  const agent = await world.start();
  t.is((await agent.reconcile()).outcomes.released, 2);
  t.deepEqual(world.host.devices, []);
});

test('HAZARDS 2: an orphan of an unknown volume is removed at an epoch that the right store passes', async (t) => {
  const world = await AgentWorld.make(t);
  const volume = world.addVolume('data', { epoch: 4 });
  world.host.raiseEpoch('vol_data', 4);
  world.host.devices.push({ path: '/dev/loop7', volumeId: 'vol_data', mediaGeneration: 1 });
  world.controller.volumes.clear();
  const agent = await world.start();
  t.is((await agent.reconcile()).outcomes.released, 1);
  world.controller.volumes.set(volume.id, volume);
  await agent.mount({ volume: 'data' });
  await agent.told();
  t.deepEqual(world.state(agent), world.complete('data'));
});

test('HAZARDS 2: what is mounted from a volume that the store does not know stays, with no record of it either', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data', { epoch: 3 });
  world.host.raiseEpoch('vol_data', 4);
  for (const [index, volumeId] of ['vol_data', 'vol_unknown'].entries()) {
    const path = `/dev/loop${index}`;
    world.host.devices.push({ path, volumeId, mediaGeneration: 1 });
    world.host.mounts.push({ device: path, volumeId, path: `/mnt/${volumeId}`, foreignNamespace: false });
  }
  const agent = await world.start();
  t.deepEqual((await agent.reconcile()).outcomes, { ...nothing, foreign: 2 });
  t.is(world.host.devices.length, 2);
  t.is(world.host.mounts.length, 2);
});

test('HAZARDS 2: a mount whose attach was never answered stays under a store that does not know the volume', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const gate = new CrashGate((await stepsOfAMount(t)).indexOf('after mount'));
  const before = await world.start({ gate });
  await t.throwsAsync(before.mount({ volume: 'data' }), { instanceOf: Crash });
  world.controller.attachments.clear();
  world.controller.volumes.clear();
  const agent = await world.start();
  t.deepEqual((await agent.reconcile()).outcomes, { ...nothing, foreign: 1 });
  t.is(world.host.mounts.length, 1);
});

test('HAZARDS 2: under an empty store nothing is forgotten after a reboot, and the right one has it mounted again', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  await (await world.start()).reconcile();
  await (await world.start()).mount({ volume: 'data' });
  const { attachments, volumes, storeId } = world.controller;
  const kept = { attachments: [...attachments], volumes: [...volumes] };
  world.host.reboot();
  world.controller.emptyStore();
  const agent = await world.start();
  t.regex((await agent.reconcile()).problem ?? '', /follows store store-1, .* fcr adopt/);
  t.is(agent.mounts().length, 1);
  t.deepEqual(world.controller.presence.at(-1)?.bootId, 'boot-1');

  world.controller.storeId = storeId;
  for (const each of kept.attachments) attachments.set(...each);
  for (const each of kept.volumes) volumes.set(...each);
  t.is((await agent.reconcile()).outcomes.remade, 1);
  t.deepEqual(world.state(agent), world.complete('data'));
});

test('HAZARDS 2: a store that is behind what this host has seen is told, and nothing is done on its word', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const before = await world.start();
  const { held } = await before.mount({ volume: 'data' });
  await before.reconcile();
  world.controller.lostChanges = 1;
  const detaching = world.controller.attachments.get(held?.target.attachmentId ?? '');
  if (detaching === undefined) return t.fail('no attachment');
  world.controller.attachments.set(detaching.id, { ...detaching, state: 'detaching' });
  const agent = await world.start();
  t.deepEqual((await agent.reconcile()).outcomes, nothing);
  t.regex(agent.status().store.problem ?? '', /behind this host/);
  t.like(agent.readiness(), [{ part: 'store' }]);
  t.is(world.host.mounts.length, 1);
  world.controller.lostChanges = 0;
  await agent.reconcile();
  t.deepEqual(agent.readiness(), []);
  t.deepEqual(world.state(agent), world.complete());
});

test('HAZARDS 2: nothing new is mounted from a store that this host does not follow', async (t) => {
  const world = await AgentWorld.make(t);
  await (await world.start()).reconcile();
  world.controller.emptyStore();
  world.addVolume('other');
  const agent = await world.start();
  const error = await t.throwsAsync(agent.mount({ volume: 'other' }), { instanceOf: Failure });
  t.is(error.code, 'store-foreign');
  t.is(world.controller.attachments.size, 0);
  world.controller.adopt('store-1');
  await agent.mount({ volume: 'other' });
  await agent.told();
  t.deepEqual(world.state(agent), world.complete('other'));
});

test('HAZARDS 2: a store that is replaced while the reconciler runs takes nothing away', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  await (await world.start()).mount({ volume: 'data' });
  world.host.reboot();
  const agent = await world.start();
  const { controller } = world;
  const attachmentGet = controller.attachmentGet.bind(controller);
  controller.attachmentGet = (id) => {
    controller.emptyStore();
    return attachmentGet(id);
  };
  t.deepEqual((await agent.reconcile()).outcomes, { ...nothing, foreign: 1 });
  t.is(agent.mounts().length, 1);
});

test('HAZARDS 2: a restored store that was adopted is followed, with lower epochs too', async (t) => {
  const world = await AgentWorld.make(t);
  const volume = world.addVolume('data');
  const agent = await world.start();
  for (const round of [1, 2]) {
    const { id } = await agent.mount({ volume: 'data' });
    if (round === 1) await agent.unmount(id);
  }
  await agent.reconcile();
  world.controller.attachments.clear();
  world.controller.volumes.set(volume.id, volume);
  world.controller.lostChanges = 1;
  t.regex((await agent.reconcile()).problem ?? '', /behind/);
  t.is(world.host.mounts.length, 1);
  world.controller.adopt('store-1');
  await agent.reconcile();
  t.deepEqual(world.state(agent), world.complete());
  await agent.mount({ volume: 'data' });
  await agent.told();
  t.deepEqual(world.state(agent), world.complete('data'));
  t.is(agent.mounts()[0]?.held?.target.epoch, 1);
});

test('HAZARDS 2: what the adopted store still grants stays mounted', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  await agent.mount({ volume: 'data' });
  await agent.reconcile();
  world.controller.lostChanges = 1;
  world.controller.adopt('store-1');
  t.deepEqual((await agent.reconcile()).outcomes, nothing);
  t.deepEqual(world.state(agent), world.complete('data'));
});

async function stepsOfAMount(t: ExecutionContext): Promise<readonly string[]> {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const gate = new CrashGate();
  await (await world.start({ gate })).mount({ volume: 'data' });
  return gate.steps;
}

test('a claim without a record is ended, a plain attachment is left to its user', async (t) => {
  const world = await AgentWorld.make(t);
  for (const name of ['claimed', 'plain']) world.addVolume(name);
  const request = { host: hostName, accessMode: 'single-writer' as const };
  await world.controller.attachmentCreate({ ...request, volume: 'claimed', claim: true });
  await world.controller.attachmentCreate({ ...request, volume: 'plain' });
  const agent = await world.start();
  await agent.reconcile();
  t.deepEqual(
    [...world.controller.attachments.values()].map(({ volume }) => volume),
    ['plain'],
  );
});

test('what the controller wants back is unmounted, removed and reported gone', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  const { held } = await agent.mount({ volume: 'data' });
  await agent.mount({ volume: 'data', path: '/mnt/second' });
  await world.controller.attachmentDelete(held?.target.attachmentId ?? '');
  await agent.reconcile();
  t.deepEqual(world.state(agent), world.complete());
});

test('what the controller wants back and a process still uses stays, and is told', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  const { held, path } = await agent.mount({ volume: 'data' });
  world.host.busyPaths.add(path);
  await world.controller.attachmentDelete(held?.target.attachmentId ?? '');
  t.is((await agent.reconcile()).outcomes.failed, 1);
  t.regex(agent.mounts()[0]?.heldBy ?? '', /process 42/);
  t.is(world.host.mounts.length, 1);
  world.host.busyPaths.clear();
  await agent.reconcile();
  t.deepEqual(world.state(agent), world.complete());
});

test('a detach that the controller wants is noticed without anybody asking', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  const { held } = await agent.mount({ volume: 'data' });
  agent.startTimers({ detachPollMs: 10, reconcileMs: 3_600_000 });
  await world.controller.attachmentDelete(held?.target.attachmentId ?? '');
  while (world.host.devices.length > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await agent.close();
  t.deepEqual(world.state(agent), world.complete());
});

test('a mount that somebody removed by hand is made again', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  const { path } = await agent.mount({ volume: 'data' });
  await world.host.unmount(path);
  t.is((await agent.reconcile()).outcomes.remade, 1);
  t.deepEqual(world.state(agent), world.complete('data'));
});

test('one volume that fails does not keep the others from being put right', async (t) => {
  const world = await AgentWorld.make(t);
  for (const name of ['a', 'b']) world.addVolume(name);
  const before = await world.start();
  for (const volume of ['a', 'b']) await before.mount({ volume });
  world.host.reboot();
  const { onAttach } = world.host;
  world.host.onAttach = (target) => {
    onAttach(target);
    if (target.volumeId === 'vol_a') throw new Failure('device-error', 'the medium is damaged');
  };
  const agent = await world.start();
  t.deepEqual((await agent.reconcile()).outcomes, { ...nothing, failed: 1, remade: 1 });
  world.host.onAttach = onAttach;
  await agent.reconcile();
  t.is(world.host.mounts.length, 2);
});

test('HAZARDS 13: a host whose name another machine holds attaches nothing', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  world.controller.hostRegister = () => Promise.reject(new Failure('host-conflict', 'another machine is node1'));
  const agent = await world.start();
  const error = await t.throwsAsync(agent.mount({ volume: 'data' }), { instanceOf: Failure });
  t.is(error.code, 'host-conflict');
  t.is((await agent.reconcile()).problem, 'another machine is node1');
  t.is(world.controller.attachments.size, 0);
});

test('a mount that the controller does not know of is reported', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  const { held } = await agent.mount({ volume: 'data' });
  const id = held?.target.attachmentId ?? '';
  const attachment = world.controller.attachments.get(id);
  if (attachment === undefined) return t.fail('no attachment');
  world.controller.attachments.set(id, { ...attachment, state: 'exported', hostSide: 'claimed' });
  await agent.reconcile();
  t.deepEqual(world.state(agent), world.complete('data'));
});
