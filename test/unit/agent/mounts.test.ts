import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { VolumeGate } from '../../../src/agent/volume-gate.ts';
import { Failure } from '../../../src/domain/errors.ts';
import { AgentWorld } from '../../support/agent-world.ts';
import { Crash, CrashGate } from '../../support/crash-gate.ts';

test('a mount claims the attachment, proves the device and reports it attached', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  const mount = await agent.mount({ volume: 'data' });
  await agent.told();
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

test('HAZARDS 5: a volume that got another owner between look-up and claim is given back untouched', async (t) => {
  const world = await AgentWorld.make(t);
  const volume = world.addVolume('data');
  const { controller, host } = world;
  const attach = controller.attachmentCreate.bind(controller);
  // Deleted, wiped, and given away under its old id.
  controller.attachmentCreate = (request) => {
    controller.volumes.set(volume.id, { ...volume, name: 'other' });
    return attach(request);
  };
  const agent = await world.start();
  host.calls.length = 0;
  for (const request of [{ volume: 'data' }, { volume: volume.id, knownAs: 'data', reference: 'one' }]) {
    controller.volumes.set(volume.id, volume);
    await t.throwsAsync(agent.mount(request), {
      code: 'volume-not-found',
      message: /"?data"? any more: it was deleted/,
    });
    t.deepEqual(world.state(agent), world.complete());
  }
  for (const call of ['attach', 'format', 'mount'] as const) t.false(host.calls.includes(call), call);
});

test('HAZARDS 5: a volume that its new owner has mounted is not shared with who looked it up under its old name', async (t) => {
  const world = await AgentWorld.make(t);
  const volume = world.addVolume('other');
  const agent = await world.start();
  await agent.mount({ volume: volume.id, knownAs: 'other', reference: 'one' });
  const stale = { volume: volume.id, knownAs: 'data' };
  for (const request of [{ ...stale, reference: 'two' }, { ...stale, path: '/mnt/data' }, stale]) {
    await t.throwsAsync(agent.mount(request), {
      code: 'volume-not-found',
      message: /"?data"? any more: it was deleted/,
    });
    t.deepEqual(
      agent.mounts().map(({ volume: name, references }) => [name, references]),
      [['other', ['one']]],
    );
  }
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

test('HAZARDS 11: an unformatted volume is formatted, recorded as such, and only then mounted', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('raw', { formatted: false });
  const agent = await world.start();
  await agent.mount({ volume: 'raw' });
  await agent.told();
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

test('HAZARDS 11: a formatted volume is never formatted', async (t) => {
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

const steps = ['attach', 'format', 'mount'] as const;
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

test('HAZARDS 3: a device held by another mount namespace stays detaching, is told, and is never reported gone', async (t) => {
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

test('who holds a device is told also where the controller could not be told of the detach', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  const { id } = await agent.mount({ volume: 'data' });
  world.host.heldVolumes.add('vol_data');
  world.controller.lost.add('attachmentDelete');
  const error = await t.throwsAsync(agent.unmount(id), { instanceOf: Failure });
  t.like(error, { code: 'device-busy', message: 'held by the mount namespace of process 42' });
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
  await agent.told();
  t.is(held?.target.epoch, 2);
  t.deepEqual(world.state(agent), world.complete('data'));
});

test('with the controller away calls fail in bounded time and what is mounted stays', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  world.addVolume('other');
  const agent = await world.start();
  const { id } = await agent.mount({ volume: 'data' });
  await agent.told();
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

test('with a controller that falls silent every user that goes is heard, however many go at once', async (t) => {
  const world = await AgentWorld.make(t);
  const agent = await world.start({ intervals: { controllerCallMs: 500, volumeWaitMs: 3_000 } });
  const volumes = Array.from({ length: 200 }, (_, at) => world.addVolume(`data${at}`).id);
  await Promise.all(volumes.map((volume) => agent.mount({ volume, reference: 'one' })));
  world.controller.silent.add('attachmentGet').add('attachmentList');
  await Promise.all(agent.mounts().map(({ volume }) => agent.unmountReference(volume, 'one')));
  t.deepEqual(
    agent.mounts().map(({ references }) => references),
    volumes.map(() => []),
  );
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

test('the intent is durable before a device is made', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const { onAttach } = world.host;
  let journal = '';
  world.host.onAttach = (target) => {
    onAttach(target);
    journal = readFileSync(join(world.directory, 'mounts.journal'), 'utf8');
  };
  const agent = await world.start();
  const { id } = await agent.mount({ volume: 'data' });
  t.true(journal.includes(id) && journal.includes('"attaching"'));
});

test('a mount that fails after it took effect is undone alone, and the volume stays mounted elsewhere', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  await agent.mount({ volume: 'data' });
  world.host.failingLate.set('mount', new Failure('deadline-exceeded', 'mount(2) did not return'));
  const error = await t.throwsAsync(agent.mount({ volume: 'data', path: '/mnt/second' }), { instanceOf: Failure });
  t.is(error.code, 'deadline-exceeded');
  t.deepEqual(world.state(agent), world.complete('data'));
});

test('HAZARDS 10: a host that has served a newer epoch reports nothing for the older one', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  const { id } = await agent.mount({ volume: 'data' });
  world.host.raiseEpoch('vol_data', 9);
  await agent.unmount(id);
  t.false(world.controller.reports.some(({ side }) => side === 'gone'));
  t.deepEqual(agent.mounts(), []);
});

test('an attachment whose claim was dropped is claimed again before its device is made', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const before = await world.start();
  const { held } = await before.mount({ volume: 'data' });
  world.host.reboot();
  const id = held?.target.attachmentId ?? '';
  const attachment = world.controller.attachments.get(id);
  if (attachment === undefined) return t.fail('no attachment');
  world.controller.attachments.set(id, { ...attachment, state: 'exported', hostSide: 'none' });
  const agent = await world.start();
  await agent.mount({ volume: 'data', path: '/mnt/second' });
  t.deepEqual(world.violations, []);
  t.is(world.host.devices.length, 1);
});

test('what a crash left mounted is removed before the volume is mounted elsewhere', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const calm = new CrashGate();
  await (await world.start({ gate: calm })).mount({ volume: 'data' });
  const at = calm.steps.indexOf('after mount');
  const second = await AgentWorld.make(t);
  second.addVolume('data');
  const gate = new CrashGate(at);
  const dying = await second.start({ gate });
  await t.throwsAsync(dying.mount({ volume: 'data' }), { instanceOf: Crash });
  await dying.close();
  t.is(second.host.mounts.length, 1);
  const agent = await second.start();
  await agent.mount({ volume: 'data', path: '/mnt/other' });
  t.deepEqual(
    second.host.mounts.map(({ path }) => path),
    ['/mnt/other'],
  );
});

test('the oldest call for a volume goes first, and too many or too slow ones are told so', async (t) => {
  const gate = new VolumeGate({ parallel: 1, waiting: 2, waitMs: 30 });
  const { promise, resolve } = Promise.withResolvers<void>();
  const order: string[] = [];
  const first = gate.run('a', () => promise);
  const waiting = ['b', 'a'].map((volume) => gate.run(volume, async () => order.push(volume)));
  const refused = await t.throwsAsync(
    gate.run('c', async () => {}),
    { instanceOf: Failure },
  );
  t.is(refused.code, 'too-many-requests');
  resolve();
  await Promise.all([first, ...waiting]);
  t.deepEqual(order, ['b', 'a']);
  const slow = Promise.withResolvers<void>();
  const holder = gate.run('a', () => slow.promise);
  const late = await t.throwsAsync(
    gate.run('a', async () => {}),
    { instanceOf: Failure },
  );
  t.is(late.code, 'volume-not-ready');
  t.regex(late.message, /^Other work on a took longer than 30 ms/);
  const crowdedOut = await t.throwsAsync(
    gate.run('b', async () => {}),
    { instanceOf: Failure },
  );
  t.regex(
    crowdedOut.message,
    /^Work on other volumes of this host \(1 at once\), before that on b, took longer than 30 ms/,
  );
  slow.resolve();
  await holder;
  t.is(await gate.run('a', async () => 'free again'), 'free again');
});
