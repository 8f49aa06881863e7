import test from 'ava';
import { Failure } from '../../../src/domain/errors.ts';
import { AgentWorld, hostName } from '../../support/agent-world.ts';

test('a mount claims the attachment, proves the device and reports it attached', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  const mount = await agent.mount({ volume: 'data' });
  t.is(mount.path, world.path('data'));
  t.is(mount.device, '/dev/loop1');
  t.deepEqual(world.state(agent), world.complete('data'));
  t.deepEqual(
    world.controller.reports.map(({ side, proof }) => [side, proof?.kind]),
    [['attached', 'present']],
  );
});

test('an unmount leaves no mount, device, attachment or record', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  await agent.unmount((await agent.mount({ volume: 'data' })).id);
  t.deepEqual(world.state(agent), world.complete());
  t.is(world.controller.reports.at(-1)?.proof?.kind, 'gone');
});

test('the volume can be attached elsewhere as soon as the unmount has been answered', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  await agent.unmount((await agent.mount({ volume: 'data' })).id);
  const other = { volume: 'data', host: 'node2', accessMode: 'single-writer' as const };
  t.is((await world.controller.attachmentCreate(other)).epoch, 2);
});

test('the same mount again is answered with the one that is there', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  const first = await agent.mount({ volume: 'data' });
  const again = await agent.mount({ volume: 'vol_data' });
  t.is(again.id, first.id);
  t.deepEqual(world.state(agent), world.complete('data'));
});

test('mounts of one volume share its attachment, and the last to go ends it', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  const paths = ['/mnt/a', '/mnt/b', '/mnt/c'];
  const mounts = await Promise.all(paths.map((path) => agent.mount({ volume: 'data', path })));
  t.is(world.controller.attachments.size, 1);
  t.is(world.host.devices.length, 1);
  const [first, second, third] = mounts.map(({ id }) => id);
  await Promise.all([first, second].map((id) => agent.unmount(id ?? '')));
  t.deepEqual(
    world.host.mounts.map(({ path }) => path),
    ['/mnt/c'],
  );
  t.is(world.controller.attachments.size, 1);
  await agent.unmount(third ?? '');
  t.deepEqual(world.state(agent), world.complete());
});

test('many volumes are mounted and unmounted at once', async (t) => {
  const world = await AgentWorld.make(t);
  const names = Array.from({ length: 60 }, (_, index) => `v${index}`);
  for (const name of names) world.addVolume(name);
  const agent = await world.start();
  const mounts = await Promise.all(names.map((volume) => agent.mount({ volume })));
  t.is(world.host.mounts.length, names.length);
  await Promise.all(mounts.map(({ id }) => agent.unmount(id)));
  t.deepEqual(world.state(agent), world.complete());
});

test('hazard 11: an unformatted volume is formatted, recorded as such, and only then mounted', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('raw', { formatted: false });
  const agent = await world.start();
  await agent.mount({ volume: 'raw' });
  t.deepEqual(
    world.host.calls.filter((call) => ['format', 'mount'].includes(call)),
    ['format', 'mount'],
  );
  t.deepEqual(
    world.controller.reports.map(({ side }) => side),
    ['formatted', 'attached'],
  );
  t.true(world.controller.volumes.get('vol_raw')?.formatted);
  t.deepEqual(world.state(agent), world.complete('raw'));
});

test('hazard 11: a formatted volume is never formatted', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  await agent.mount({ volume: 'data' });
  await agent.mount({ volume: 'data' });
  t.false(world.host.calls.includes('format'));
});

test('a volume without a filesystem cannot be mounted for reading only, and nothing stays behind', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('raw', { formatted: false });
  const agent = await world.start();
  const error = await t.throwsAsync(agent.mount({ volume: 'raw', readOnly: true }), { instanceOf: Failure });
  t.is(error.code, 'volume-not-ready');
  t.deepEqual(world.state(agent), world.complete());
});

const steps = ['attach', 'prove', 'format', 'mount'] as const;
for (const step of steps) {
  test(`a failure of ${step} is answered as it is, and undone`, async (t) => {
    const world = await AgentWorld.make(t);
    world.addVolume('raw', { formatted: false });
    world.host.failing.set(step, new Failure('device-error', `${step} failed`));
    const agent = await world.start();
    const error = await t.throwsAsync(agent.mount({ volume: 'raw' }), { instanceOf: Failure });
    t.is(error.problem.detail, `${step} failed`);
    t.deepEqual(world.state(agent), world.complete());
  });
}

test('a taken path is refused and what is there stays', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  world.addVolume('other');
  const agent = await world.start();
  await agent.mount({ volume: 'data' });
  const byRecord = await t.throwsAsync(agent.mount({ volume: 'other', path: world.path('data') }), {
    instanceOf: Failure,
  });
  t.is(byRecord.code, 'mount-path-busy');
  const stranger = { device: '/dev/sda1', volumeId: 'stranger', path: '/mnt/taken', foreignNamespace: false };
  world.host.mounts.push(stranger);
  const byKernel = await t.throwsAsync(agent.mount({ volume: 'other', path: '/mnt/taken' }), { instanceOf: Failure });
  t.is(byKernel.code, 'mount-path-busy');
  t.deepEqual(
    world.host.mounts.map(({ path }) => path),
    [world.path('data'), '/mnt/taken'],
  );
  t.deepEqual(
    [...world.controller.attachments.values()].map(({ volume }) => volume),
    ['data'],
  );
});

test('a busy path fails the unmount, and the mount stays as it was', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  const { id, path } = await agent.mount({ volume: 'data' });
  world.host.busyPaths.add(path);
  const error = await t.throwsAsync(agent.unmount(id), { instanceOf: Failure });
  t.is(error.code, 'device-busy');
  await agent.reconcile();
  t.deepEqual(world.state(agent), world.complete('data'));
});

test('hazard 3: a device held by another mount namespace stays detaching, is told, and is never reported gone', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  const { id } = await agent.mount({ volume: 'data' });
  world.host.heldVolumes.add('vol_data');
  const error = await t.throwsAsync(agent.unmount(id), { instanceOf: Failure });
  t.is(error.code, 'device-busy');
  await agent.reconcile();
  t.like(agent.mounts()[0], { state: 'detaching', heldBy: 'held by the mount namespace of process 42' });
  t.false(world.controller.reports.some(({ side }) => side === 'gone'));
  t.is(world.controller.attachments.size, 1);
  world.host.heldVolumes.clear();
  await agent.reconcile();
  t.deepEqual(world.state(agent), world.complete());
});

test('a mount of a volume that is still detaching finishes the detach first', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  const { id } = await agent.mount({ volume: 'data' });
  world.host.heldVolumes.add('vol_data');
  await t.throwsAsync(agent.unmount(id));
  world.host.heldVolumes.clear();
  const { held } = await agent.mount({ volume: 'data' });
  t.is(held?.target.epoch, 2);
  t.deepEqual(world.state(agent), world.complete('data'));
});

test('with the controller away calls fail in bounded time and what is mounted stays', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  world.addVolume('other');
  const agent = await world.start({ intervals: { controllerCallMs: 50 } });
  const { id } = await agent.mount({ volume: 'data' });
  world.controller.away = true;
  for (const call of [agent.unmount(id), agent.mount({ volume: 'other' })]) {
    const error = await t.throwsAsync(call, { instanceOf: Failure });
    t.is(error.code, 'controller-unavailable');
  }
  t.not((await agent.reconcile()).problem, null);
  t.false(agent.status().controller.reachable);
  t.deepEqual(world.state(agent), world.complete('data'));
  world.controller.away = false;
  await agent.unmount(id);
  t.deepEqual(world.state(agent), world.complete());
});

test('a controller that never answers is given up on', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start({ intervals: { controllerCallMs: 20 } });
  world.controller.silent.add('attachmentCreate');
  const error = await t.throwsAsync(agent.mount({ volume: 'data' }), { instanceOf: Failure });
  t.is(error.code, 'controller-unavailable');
});

for (const call of ['attachmentCreate', 'hostStateReport', 'attachmentDelete'] as const) {
  test(`a lost answer to ${call} leaves nothing behind after a reconcile`, async (t) => {
    const world = await AgentWorld.make(t);
    world.addVolume('data');
    const agent = await world.start();
    world.controller.lost.add(call);
    const mounted = await agent.mount({ volume: 'data' }).catch(() => null);
    if (mounted !== null) await agent.unmount(mounted.id).catch(() => null);
    await agent.reconcile();
    t.deepEqual(world.state(agent), world.complete());
  });
}

test('an unknown volume, an unknown mount and a bad path are told apart', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  const codeOf = async (call: Promise<unknown>) => (await t.throwsAsync(call, { instanceOf: Failure })).code;
  t.is(await codeOf(agent.mount({ volume: 'nothing' })), 'volume-not-found');
  t.is(await codeOf(agent.unmount('mnt_nothing')), 'mount-not-found');
  t.is(await codeOf(agent.mount({ volume: '../etc' })), 'invalid-name');
  for (const path of ['relative', '/', '/a/../b', '/a/', '/a//b', `/${'x'.repeat(2_000)}`]) {
    t.is(await codeOf(agent.mount({ volume: 'data', path })), 'invalid-request', path);
  }
});

test('a volume that another host writes is refused with the reason of the controller', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  await world.controller.attachmentCreate({ volume: 'data', host: 'node2', accessMode: 'single-writer' });
  const agent = await world.start();
  const error = await t.throwsAsync(agent.mount({ volume: 'data' }), { instanceOf: Failure });
  t.is(error.code, 'volume-in-use');
  t.deepEqual(agent.mounts(), []);
  t.is(world.host.devices.length, 0);
});

test('an attachment that a user made for this host is claimed before its device is made', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  await world.controller.attachmentCreate({ volume: 'data', host: hostName, accessMode: 'single-writer' });
  const agent = await world.start();
  await agent.reconcile();
  t.is(world.controller.attachments.size, 1);
  await agent.mount({ volume: 'data' });
  t.deepEqual(world.state(agent), world.complete('data'));
});
