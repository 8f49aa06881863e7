import { join } from 'node:path';
/** An attachment that was there before the mount: a user's, that of a new owner, or what a lost answer left. */
import test from 'ava';
import { Failure } from '../../../src/domain/errors.ts';
import { AgentWorld, hostName } from '../../support/agent-world.ts';

test('an attachment that a user made for this host is claimed before its device is made', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  await world.controller.attachmentCreate({ volume: 'data', host: hostName, accessMode: 'single-writer' });
  const agent = await world.start();
  await agent.reconcile();
  t.is(world.controller.attachments.size, 1);
  await agent.mount({ volume: 'data' });
  await agent.told();
  t.deepEqual(world.state(agent), world.complete('data'));
});

for (const step of ['attach', 'format', 'mount'] as const) {
  test(`a failure of ${step} on an attachment that a user made for this host gives back the claim alone`, async (t) => {
    const world = await AgentWorld.make(t);
    world.addVolume('data', { formatted: false });
    const { controller, host } = world;
    const { id } = await controller.attachmentCreate({ volume: 'data', host: hostName, accessMode: 'single-writer' });
    const agent = await world.start();
    host.failing.set(step, new Failure('device-error', `${step} failed`));
    await t.throwsAsync(agent.mount({ volume: 'data' }), { code: 'device-error' });
    await agent.reconcile();
    t.deepEqual(world.state(agent), { ...world.complete(), attachments: ['vol_data exported'] });
    t.like(controller.attachments.get(id), { epoch: 1, hostSide: 'none' });
    host.failing.clear();
    await agent.unmount((await agent.mount({ volume: 'data' })).id);
    t.deepEqual(world.state(agent), world.complete());
  });
}

test('a claim that cannot be given back at once is by the reconcile, and the attachment that was found stays', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const { controller, host } = world;
  await controller.attachmentCreate({ volume: 'data', host: hostName, accessMode: 'single-writer' });
  const agent = await world.start();
  host.failing.set('mount', new Failure('device-error', 'mount failed'));
  host.heldVolumes.add('vol_data');
  await t.throwsAsync(agent.mount({ volume: 'data' }), { code: 'device-error' });
  t.like(agent.mounts()[0], { state: 'detaching' });
  host.heldVolumes.clear();
  const next = await world.start();
  await next.reconcile();
  t.deepEqual(world.state(next), { ...world.complete(), attachments: ['vol_data exported'] });
});

test('HAZARDS 5: the attachment that a new owner has on this host stays, when who looked the volume up before claims it', async (t) => {
  const world = await AgentWorld.make(t);
  const volume = world.addVolume('data');
  const { controller } = world;
  const attach = controller.attachmentCreate.bind(controller);
  controller.attachmentCreate = async (request) => {
    controller.volumes.set(volume.id, { ...volume, name: 'other' });
    await attach({ volume: 'other', host: hostName, accessMode: 'single-writer' });
    return await attach(request);
  };
  const agent = await world.start();
  await t.throwsAsync(agent.mount({ volume: 'data' }), { code: 'volume-not-found' });
  await agent.reconcile();
  t.deepEqual(world.state(agent), { ...world.complete(), attachments: ['vol_data exported'] });
});

test("an attachment whose answer was lost is this host's own: a failed mount gives it back", async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  world.controller.lost.add('attachmentCreate');
  await t.throwsAsync(agent.mount({ volume: 'data' }), { code: 'controller-unavailable' });
  world.host.failing.set('mount', new Failure('device-error', 'mount failed'));
  await t.throwsAsync(agent.mount({ volume: 'data' }), { code: 'device-error' });
  t.deepEqual(world.state(agent), world.complete());
});

test("a second mount that fails while the first one goes leaves nothing of this host's own attachment", async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const { host } = world;
  const agent = await world.start();
  const { id } = await agent.mount({ volume: 'data' });
  const path = join(world.directory, 'second');
  host.failingLate.set('mount', new Failure('deadline-exceeded', 'mount(2) did not return'));
  host.busyPaths.add(path);
  await t.throwsAsync(agent.mount({ volume: 'data', path }), { code: 'deadline-exceeded' });
  host.failingLate.clear();
  await agent.unmount(id);
  t.like(agent.mounts()[0], { path, state: 'unmounting' });
  host.busyPaths.clear();
  await agent.reconcile();
  t.deepEqual(world.state(agent), world.complete());
});
