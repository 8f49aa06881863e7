/** Who needs a mount, over everything that engines, agents and controllers do to each other. */
import test from 'ava';
import type { Agent } from '../../../src/agent/agent.ts';
import { withReferencesOf } from '../../../src/agent/shared-mounts.ts';
import { limits } from '../../../src/config/limits.ts';
import { Failure } from '../../../src/domain/errors.ts';
import { VolumeDriver } from '../../../src/frontends/docker-volume/volume-driver.ts';
import { CrashGate } from '../../support/crash-gate.ts';
import { until } from '../../support/daemon.ts';
import { PluginWorld } from '../../support/plugin-world.ts';

async function created(world: PluginWorld, Name: string, Opts: object | null = null): Promise<void> {
  await world.call('VolumeDriver.Create', { Name, Opts });
}

const mountOf = (world: PluginWorld, Name: string, ID: string) => world.call('VolumeDriver.Mount', { Name, ID });
const unmountOf = (world: PluginWorld, Name: string, ID: string) => world.call('VolumeDriver.Unmount', { Name, ID });

test('two containers share one mount, and the last one ends it', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  const first = await mountOf(world, 'data', 'one');
  const second = await mountOf(world, 'data', 'two');
  t.deepEqual(first.body, second.body);
  t.is(world.agents.host.mounts.length, 1);
  t.is((await unmountOf(world, 'data', 'one')).status, 200);
  t.deepEqual(world.references('data'), ['two']);
  t.is(world.agents.host.mounts.length, 1);
  t.is((await unmountOf(world, 'data', 'two')).status, 200);
  t.deepEqual([world.agents.host.mounts, world.agents.host.devices], [[], []]);
  t.is(world.agents.controller.attachments.size, 0);
});

test('the last unmount is one record before the volume is touched', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  const gate = new CrashGate();
  const agent = await world.agents.start({ gate });
  await agent.mount({ volume: 'data', reference: 'one' });
  const before = gate.steps.length;
  await agent.unmountReference('data', 'one');
  const steps = gate.steps.slice(before);
  t.is(steps.filter((step) => step === 'before put').length, 1);
  t.true(steps.indexOf('after put') < steps.indexOf('before unmount'));
});

test('a mount by an engine looks its volume up once', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  const gate = new CrashGate();
  const agent = await world.agents.start({ gate });
  const driver = new VolumeDriver({ agent, controller: world.volumes, scope: 'local' });
  await driver.mount('data', 'one');
  t.deepEqual(
    agent.mounts().map(({ volume, references }) => ({ volume, references })),
    [{ volume: 'data', references: ['one'] }],
  );
  t.false(gate.steps.includes('before volumeGet'));
});

test('the same ID counts once, and an unknown one changes nothing', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  await mountOf(world, 'data', 'one');
  await mountOf(world, 'data', 'one');
  t.deepEqual(world.references('data'), ['one']);
  t.is((await unmountOf(world, 'data', 'stranger')).status, 200);
  t.is((await unmountOf(world, 'nothing', 'one')).status, 200);
  t.is(world.agents.host.mounts.length, 1);
  await unmountOf(world, 'data', 'one');
  t.is((await unmountOf(world, 'data', 'one')).status, 200);
  t.deepEqual(world.agents.host.mounts, []);
});

test('one more user than a mount may have is refused; those that are known stay welcome', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  const mounted = await world.agent.mount({ volume: 'data', reference: 'user0' });
  const full = { ...mounted, references: Array.from({ length: limits.mountReferences }, (_, index) => `user${index}`) };
  t.is(withReferencesOf(full, mounted).references?.length, limits.mountReferences);
  const error = t.throws(() => withReferencesOf(full, { ...mounted, references: ['one more'] }), {
    instanceOf: Failure,
  });
  t.is(error?.code, 'limit-reached');
});

test('owner and mode of the first mount are those that were stated at the creation', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data', { uid: '70', gid: '71', mode: '0700' });
  await mountOf(world, 'data', 'one');
  t.like(world.agent.mounts()[0], { uid: 70, gid: 71, mode: 0o700, readOnly: false });
});

test('references outlive the agent', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  await mountOf(world, 'data', 'one');
  await mountOf(world, 'data', 'two');
  const agent = await world.agents.start();
  t.deepEqual(agent.mounts()[0]?.references, ['one', 'two']);
  await agent.reconcile();
  t.is(world.agents.host.mounts.length, 1);
  await agent.unmountReference('data', 'one');
  await agent.unmountReference('data', 'two');
  t.deepEqual(world.agents.host.mounts, []);
});

test('HAZARDS 19: a reboot ends all containers: what engines do not ask for again is given back, a person has it again', async (t) => {
  const world = await PluginWorld.start(t);
  for (const name of ['died', 'restarted', 'own']) await created(world, name);
  await world.agent.mount({ volume: 'own', path: '/mnt/own' });
  const driverOf = (agent: Agent) => new VolumeDriver({ agent, controller: world.volumes, scope: 'local' });
  for (const name of ['died', 'restarted']) await driverOf(world.agent).mount(name, `of-${name}`);
  world.agents.host.reboot();
  const agent = await world.agents.start();
  t.is((await driverOf(agent).get('restarted')).Mountpoint, '');
  // As dockerd does for a container that it starts again: with the ID of its last mount.
  const path = await driverOf(agent).mount('restarted', 'of-restarted');
  await agent.reconcile();
  t.deepEqual(world.agents.host.mounts.map((mount) => mount.path).sort(), ['/mnt/own', path].sort());
  t.deepEqual(
    agent.mounts().map(({ volume, references }) => [volume, references]),
    [
      ['own', undefined],
      ['restarted', ['of-restarted']],
    ],
  );
  t.deepEqual(
    [...world.agents.controller.attachments.values()].map(({ volume }) => volume),
    ['own', 'restarted'],
  );
  const again = await world.agents.start();
  await again.reconcile();
  t.is(world.agents.host.mounts.length, 2);
});

test('HAZARDS 19: after a reboot another host gets what no container here is started with again', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  await mountOf(world, 'data', 'one');
  world.agents.host.reboot();
  const agent = await world.agents.start();
  await agent.reconcile();
  const request = { volume: 'data', host: 'node2', accessMode: 'single-writer' as const };
  await t.notThrowsAsync(world.agents.controller.attachmentCreate(request));
  t.deepEqual([agent.mounts(), world.agents.host.devices, world.agents.violations], [[], [], []]);
});

test('references of a version that did not note the boot are kept until the next one', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  await mountOf(world, 'data', 'one');
  const [record] = world.agent.mounts();
  await world.agents.rewrite(({ bootId: _, ...old }) => old);
  const agent = await world.agents.start();
  t.deepEqual(agent.mounts(), [record]);
  world.agents.host.reboot();
  t.deepEqual((await world.agents.start()).mounts()[0]?.references, []);
});

test('a mount that nobody needs any more, and that a crash left, is ended by the next reconcile', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  await mountOf(world, 'data', 'one');
  world.agents.controller.away = true;
  t.is((await unmountOf(world, 'data', 'one')).status, 200);
  t.is(world.agents.host.mounts.length, 1);
  const agent = await world.agents.start();
  world.agents.controller.away = false;
  await agent.reconcile();
  t.deepEqual([world.agents.host.mounts, world.agents.host.devices, agent.mounts()], [[], [], []]);
  t.is(world.agents.controller.attachments.size, 0);
});

const away = 'What is mounted on this host goes on (fcr agent status shows whether the controller answers); try again.';

test('with the controller away containers stop and start again on what is mounted, and nothing new begins', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  await created(world, 'other');
  const { body } = await mountOf(world, 'data', 'one');
  world.agents.controller.away = true;
  t.deepEqual((await mountOf(world, 'data', 'two')).body, body);
  world.agents.passTime(limits.engineStartMs);
  t.like((await world.call('VolumeDriver.Get', { Name: 'data' })).body, { Volume: { Mountpoint: body.Mountpoint } });
  t.like((await world.call('VolumeDriver.Path', { Name: 'data' })).body, { Mountpoint: body.Mountpoint });
  t.like((await world.call('VolumeDriver.List', {})).body, { Volumes: [{ Name: 'data' }] });
  t.is((await world.call('VolumeDriver.Create', { Name: 'data', Opts: null })).status, 200);
  for (const answer of [
    await mountOf(world, 'other', 'one'),
    await world.call('VolumeDriver.Create', { Name: 'new', Opts: null }),
    await world.call('VolumeDriver.Remove', { Name: 'data' }),
  ]) {
    t.is(answer.status, 500);
    t.true(String(answer.body.Err).endsWith(away));
  }
  // dockerd would take an answer for "no such volume", and start the container on an empty one of its own.
  const lookup = 'POST /VolumeDriver.Get HTTP/1.1\r\nHost: \r\nContent-Length: 16\r\n\r\n{"Name":"other"}';
  t.is(await world.exchange(lookup), `FC-Redirect:connection_refused_${away.replaceAll(' ', '_')}\r\n\r\n`);
  // It repeats what it could not finish without the body.
  const repeated = 'POST /VolumeDriver.Get HTTP/1.1\r\nHost: \r\nContent-Length: 0\r\n\r\n';
  t.regex(await world.exchange(repeated), /^FC-Redirect:The_exchange_broke_off/);
  await unmountOf(world, 'data', 'one');
  await unmountOf(world, 'data', 'two');
  t.like((await world.call('VolumeDriver.Get', { Name: 'data' })).body, { Volume: { Mountpoint: '' } });
  t.deepEqual((await mountOf(world, 'data', 'three')).body, body);
  world.agents.controller.away = false;
  await unmountOf(world, 'data', 'three');
  t.deepEqual(world.agents.host.mounts, []);
});

test('references that a killed engine left are given up when the volume is removed, and not before', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  await mountOf(world, 'data', 'leaked');
  await world.agent.reconcile();
  t.deepEqual(world.references('data'), ['leaked']);
  world.agents.passTime(limits.engineStartMs);
  t.is((await world.call('VolumeDriver.Remove', { Name: 'data' })).status, 200);
  t.deepEqual([world.agents.host.mounts, world.agents.controller.volumes.size], [[], 0]);
});

test('a volume whose container is being started is removed by no other engine, though no process has it yet', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  const { body } = await mountOf(world, 'data', 'old');
  world.agents.passTime(limits.engineStartMs);
  await mountOf(world, 'data', 'starting');
  const remove = () => world.call('VolumeDriver.Remove', { Name: 'data' });
  const refusedAs = (why: string) => new RegExp(`"data" is in use on this host: ${why}, .* Repeat this in \\d+ s\\.$`);
  t.regex(String((await remove()).body.Err), refusedAs('an engine has just mounted it'));
  t.like((await world.call('VolumeDriver.Get', { Name: 'data' })).body, { Volume: { Mountpoint: body.Mountpoint } });
  t.deepEqual(world.references('data'), ['old', 'starting']);
  world.agents.passTime(limits.engineStartMs);
  const agent = await world.agents.start();
  const cannotKnow = { code: 'volume-in-use', message: refusedAs('this agent has just started') };
  await t.throwsAsync(agent.endUnused('data'), cannotKnow);
  world.agents.passTime(limits.engineStartMs);
  await agent.endUnused('data');
  t.deepEqual([world.agents.host.mounts, world.agents.host.devices, agent.mounts()], [[], [], []]);
});

test('a removal that comes while a mount is being made waits for it, and is refused', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  const mounting = mountOf(world, 'data', 'starting');
  await until(() => world.agent.mounts().length === 1, { what: 'the mount is begun' });
  t.regex(
    String((await world.call('VolumeDriver.Remove', { Name: 'data' })).body.Err),
    /an engine has just mounted it/,
  );
  t.is((await mounting).status, 200);
  t.deepEqual([world.references('data'), world.agents.host.mounts.length], [['starting'], 1]);
});

/** As seen from the machine: `data` in a container's own mount namespace. Answers how the holder is told. */
function heldByContainer(world: PluginWorld): string {
  const holder = 'process 42 (sleep) of container 0123456789ab';
  const copy = { device: '/dev/loop1', volumeId: 'vol_data', path: '/data', foreignNamespace: true, holder };
  world.agents.host.mounts.push(copy);
  return holder;
}

test('a volume that a process still has is not removed, and it is said who has it', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  const { body } = await mountOf(world, 'data', 'one');
  const holder = heldByContainer(world);
  const answer = await world.call('VolumeDriver.Remove', { Name: 'data' });
  t.is(answer.status, 500);
  t.is(
    String(answer.body.Err),
    `Volume "data" is in use on this host: ${holder} has it at /data. End that first, then repeat this.`,
  );
  t.like((await world.call('VolumeDriver.Get', { Name: 'data' })).body, { Volume: { Mountpoint: body.Mountpoint } });
  t.deepEqual(world.references('data'), ['one']);
});

test('a repeat without a body is never answered as done: it says that the exchange broke', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  await mountOf(world, 'data', 'one');
  for (const method of ['Create', 'Remove', 'Mount', 'Unmount', 'Path']) {
    const { status, body } = await world.call(`VolumeDriver.${method}`, '');
    t.is(status, 500);
    t.regex(String(body.Err), /The exchange broke off .* try again\.$/);
  }
  t.deepEqual(world.references('data'), ['one']);
  for (const method of ['Plugin.Activate', 'VolumeDriver.Capabilities', 'VolumeDriver.List'])
    t.is((await world.call(method, '')).status, 200);
});

test('a removal that is refused takes no reference away: its user may be alive', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  await mountOf(world, 'data', 'alive');
  world.agents.passTime(limits.engineStartMs);
  const [mount] = world.agent.mounts();
  const refused = async () => {
    t.is((await world.call('VolumeDriver.Remove', { Name: 'data' })).status, 500);
    t.deepEqual(world.references('data'), ['alive']);
  };
  world.agents.host.busyPaths.add(mount?.path ?? '');
  await refused();
  world.agents.host.busyPaths.clear();
  world.agents.controller.away = true;
  await refused();
  world.agents.controller.away = false;
  await world.agent.reconcile();
  t.is(world.agents.host.mounts.length, 1);
});

test('a mount that engines need is not unmounted by a person, who is told who has it and what to do', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  const { body } = await mountOf(world, 'data', 'one');
  heldByContainer(world);
  const before = JSON.stringify([world.agent.mounts(), world.agents.host.mounts]);
  const [mount] = world.agent.mounts();
  const refused = (options: { force?: boolean }, message: RegExp) =>
    t.throwsAsync(world.agent.unmount(mount?.id ?? '', options), { code: 'volume-in-use', message });
  await refused({}, /on record for one user at .* \(process 42 \(sleep\) of container 0123456789ab has it at \/data\)/);
  await refused(
    {},
    /Stop its containers \(docker ps or podman ps, --filter volume=data\); force ends what no process has/,
  );
  await refused({ force: true }, /process 42 \(sleep\) of container 0123456789ab has it at \/data/);
  t.is(JSON.stringify([world.agent.mounts(), world.agents.host.mounts]), before);
  t.like((await mountOf(world, 'data', 'two')).body, { Mountpoint: body.Mountpoint });
});

test('what a killed engine left is unmounted by force, and the volume stays', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  await mountOf(world, 'data', 'leaked');
  const [mount] = world.agent.mounts();
  await t.throwsAsync(world.agent.unmount(mount?.id ?? ''), { message: /no process has it/ });
  world.agents.passTime(limits.engineStartMs);
  world.agents.host.busyPaths.add(mount?.path ?? '');
  await t.throwsAsync(world.agent.unmount(mount?.id ?? '', { force: true }), { code: 'device-busy' });
  t.deepEqual(world.references('data'), ['leaked']);
  world.agents.host.busyPaths.clear();
  await world.agent.unmount(mount?.id ?? '', { force: true });
  t.deepEqual([world.agents.host.mounts, world.agent.mounts()], [[], []]);
  t.is(world.agents.controller.volumes.size, 1);
});

test('a copy that goes with the mount keeps no volume from being removed', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  const { body } = await mountOf(world, 'data', 'leaked');
  const copy = { device: '/dev/loop1', volumeId: 'vol_data', path: String(body.Mountpoint), foreignNamespace: true };
  world.agents.host.mounts.push({ ...copy, isPropagated: true });
  world.agents.passTime(limits.engineStartMs);
  t.is((await world.call('VolumeDriver.Remove', { Name: 'data' })).status, 200);
  t.is(world.agents.controller.volumes.size, 0);
});

test('what a person mounted is not taken away by an engine', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  await world.agent.mount({ volume: 'data', path: '/mnt/mine' });
  await mountOf(world, 'data', 'one');
  await unmountOf(world, 'data', 'one');
  t.deepEqual(
    world.agents.host.mounts.map(({ path }) => path),
    ['/mnt/mine'],
  );
  const answer = await world.call('VolumeDriver.Remove', { Name: 'data' });
  t.regex(
    String(answer.body.Err),
    /it is mounted at \/mnt\/mine; unmount it there first \(fcr umount \/mnt\/mine\)\.$/,
  );
});

test('a volume that another host has is neither mounted nor removed, and it is said which and by what', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  const request = { volume: 'data', host: 'node2', accessMode: 'single-writer' as const };
  const { id } = await world.agents.controller.attachmentCreate(request);
  t.is((await mountOf(world, 'data', 'one')).status, 500);
  t.deepEqual(world.agent.mounts(), []);
  const { body } = await world.call('VolumeDriver.Remove', { Name: 'data' });
  const ends = `on node2 stop its containers or fcr umount it; fcr attachment delete ${id} asks the host to`;
  const remedy = `To end that: ${ends}. If the machine is lost for good: fcr host lost node2.`;
  t.is(body.Err, `Volume "data" is attached to host "node2". ${remedy}`);
});

test('a busy mount is told at the last unmount, and goes by itself once it can', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  const { body } = await mountOf(world, 'data', 'one');
  world.agents.host.busyPaths.add(String(body.Mountpoint));
  const answer = await unmountOf(world, 'data', 'one');
  t.is(answer.status, 500);
  t.regex(String(answer.body.Err), /held by process 42/);
  world.agents.host.busyPaths.clear();
  await world.agent.reconcile();
  t.deepEqual([world.agents.host.mounts, world.agent.mounts()], [[], []]);
});

test('200 mounts and unmounts on 20 volumes at once leave nothing', async (t) => {
  const world = await PluginWorld.start(t);
  const names = Array.from({ length: 20 }, (_, index) => `v${index}`);
  for (const name of names) await created(world, name);
  const one = async (name: string, reference: string) => {
    t.is((await mountOf(world, name, reference)).status, 200);
    t.is((await unmountOf(world, name, reference)).status, 200);
  };
  await Promise.all(Array.from({ length: 100 }, (_, call) => one(names[call % names.length] ?? '', `c${call}`)));
  t.deepEqual([world.agents.host.mounts, world.agents.host.devices, world.agent.mounts()], [[], [], []]);
  t.is(world.agents.controller.attachments.size, 0);
});

test('an engine is told once that writes are lost, and the volume goes all the same', async (t) => {
  const world = await PluginWorld.start(t);
  await created(world, 'data');
  await mountOf(world, 'data', 'one');
  const { host } = world.agents;
  const detach = host.detach.bind(host);
  host.detach = async () => {
    host.detach = detach;
    throw new Failure('writes-lost', 'what was written to it last is lost.');
  };
  const told = await unmountOf(world, 'data', 'one');
  t.is(told.status, 500);
  t.is(told.body.Err, 'what was written to it last is lost.');
  t.like(world.ended.at(-1), { method: 'VolumeDriver.Unmount', outcome: 'unavailable' });
  await world.agent.reconcile();
  t.deepEqual([world.agents.host.mounts, world.agents.host.devices, world.agent.mounts()], [[], [], []]);
});
