/** dockerd on a host whose agent is a process of its own: the controller goes away and comes back, the agent too. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { ControlledMachine } from '../support/controlled-machine.ts';
import { until } from '../support/daemon.ts';
import { DockerEngine, image } from '../support/docker-engine.ts';
import { ownPlugin, untilNothingIsLeft } from '../support/docker-world.ts';
import { testOf } from '../support/groups.ts';
import { loopsBelow, mountsBelow } from '../support/linux-host-harness.ts';

const test = testOf('clients').serial;

/** A dockerd, the agent that serves it, and their controller. */
async function splitHost(t: ExecutionContext) {
  const { plugin, socketPath } = ownPlugin(t);
  const machine = await ControlledMachine.start(t);
  const agent = await machine.agentForEngines(socketPath);
  await agent.start();
  return { plugin, machine, agent, engine: await DockerEngine.start(t) };
}

test('with the controller down, containers stop and start on what is mounted, and others are told why not', async (t) => {
  t.timeout(170_000);
  const { plugin, machine, agent, engine } = await splitHost(t);
  for (const name of ['data', 'idle']) await engine.docker('volume', 'create', '-d', plugin, name);
  t.is(JSON.parse(await engine.docker('volume', 'inspect', 'data'))[0].Scope, 'global');
  const start = (name: string, volume: string) =>
    engine.docker('run', '-d', '--name', name, '-v', `${volume}:/data`, image, 'sleep', '600');
  await start('keeper', 'data');
  await engine.docker('exec', 'keeper', 'sh', '-c', 'echo before > /data/file');

  await machine.controller.kill();
  t.is(await engine.run('data', 'cat /data/file'), 'before');
  await engine.docker('restart', '-t', '0', 'keeper');
  t.is(await engine.docker('exec', 'keeper', 'cat', '/data/file'), 'before');
  t.regex(JSON.parse(await engine.docker('volume', 'inspect', 'data'))[0].Mountpoint, /^\//);
  const message = /(does|did).not.answer.*fcr agent status shows whether/;
  // dockerd repeats for a quarter of a minute what could not be looked up.
  await Promise.all([
    t.throwsAsync(start('refused', 'idle'), { message: /FC-Redirect:.*(does|did).not.answer.*fcr.agent.status/ }),
    t.throwsAsync(engine.docker('volume', 'create', '-d', plugin, 'new'), { message }),
  ]);
  await engine.docker('rm', '-f', 'keeper');

  await machine.startController();
  const isAtRest = async () => (await agent.mounts()).length === 0 && loopsBelow(machine.directory).length === 0;
  await until(isAtRest, { what: 'what was let go of meanwhile is unmounted', timeoutMs: 60_000, everyMs: 100 });
  t.deepEqual(mountsBelow(machine.directory), []);
  t.is(await engine.run('data', 'cat /data/file'), 'before');
  t.is(await engine.docker('volume', 'ls', '-qf', 'driver=local'), '');
  await engine.docker('volume', 'rm', 'data', 'idle');
});

test('with a controller that hangs, docker prints why, what is mounted goes on, and nothing is left behind', async (t) => {
  t.timeout(170_000);
  const { plugin, machine, agent, engine } = await splitHost(t);
  for (const name of ['data', 'idle']) await engine.docker('volume', 'create', '-d', plugin, name);
  const start = (name: string, volume: string) =>
    engine.docker('run', '-d', '--name', name, '-v', `${volume}:/data`, image, 'sleep', '600');
  await start('keeper', 'data');
  await engine.docker('exec', 'keeper', 'sh', '-c', 'echo before > /data/file');

  machine.controller.signal('SIGSTOP');
  t.teardown(() => machine.controller.signal('SIGCONT'));
  t.is(await engine.run('data', 'cat /data/file'), 'before');
  await engine.docker('restart', '-t', '0', 'keeper');
  t.is(await engine.docker('exec', 'keeper', 'cat', '/data/file'), 'before');
  const silent = /did.not.answer.within.\d+.ms.*fcr.agent.status.shows.whether/;
  await Promise.all([
    t.throwsAsync(start('refused', 'idle'), { message: silent }),
    t.throwsAsync(engine.docker('volume', 'create', '-d', plugin, 'new'), { message: silent }),
    t.throwsAsync(engine.docker('volume', 'rm', 'idle'), { message: silent }),
    t.throwsAsync(engine.docker('volume', 'inspect', 'idle'), { message: silent }),
  ]);
  await engine.docker('rm', '-f', 'keeper');

  machine.controller.signal('SIGCONT');
  const { directory, client: controller } = machine;
  await untilNothingIsLeft(t, { directory, controller, mounts: () => agent.mounts(), logTail: agent.process.log });
  t.is(await engine.run('data', 'cat /data/file'), 'before');
  t.is(await engine.docker('volume', 'ls', '-qf', 'driver=local'), '');
  // What had no answer may have been done when it was heard: it can be asked for again.
  await engine.docker('volume', 'create', '-d', plugin, 'new');
  await engine.docker('volume', 'rm', '-f', 'data', 'idle', 'new');
  t.deepEqual((await controller.volumeList({ state: 'allocated' })).items, []);
});

test('HAZARDS 10: the agent alone is killed: containers go on, stop meanwhile, and have the same mount again', async (t) => {
  t.timeout(170_000);
  const { plugin, machine, agent, engine } = await splitHost(t);
  for (const name of ['kept', 'stopped']) {
    await engine.docker('volume', 'create', '-d', plugin, name);
    await engine.docker('run', '-d', '--name', name, '-v', `${name}:/data`, image, 'sleep', '600');
  }
  const before = (await agent.mounts()).map(({ id }) => id).sort();

  await agent.process.kill();
  await engine.docker('exec', 'kept', 'sh', '-c', 'echo while nobody ran > /data/file; sync');
  // Its Unmount finds nobody, and is not sent again.
  await engine.docker('kill', 'stopped').catch(() => undefined);
  await engine.docker('wait', 'stopped');
  await agent.start();
  await engine.docker('start', 'stopped');
  t.deepEqual((await agent.mounts()).map(({ id }) => id).sort(), before);
  t.is(await engine.docker('exec', 'kept', 'cat', '/data/file'), 'while nobody ran');

  await engine.docker('rm', '-f', 'kept', 'stopped');
  const { directory, client: controller } = machine;
  const mounts = () => agent.mounts();
  await untilNothingIsLeft(t, { directory, controller, mounts, logTail: agent.process.log });
  t.is(await engine.run('kept', 'cat /data/file'), 'while nobody ran');
  await engine.docker('volume', 'rm', 'kept', 'stopped');
  t.deepEqual((await controller.volumeList({ state: 'allocated' })).items, []);
});

test('over TCP on loopback, found by its spec file, also after a kill', async (t) => {
  t.timeout(120_000);
  const machine = await ControlledMachine.start(t);
  const spec = join(machine.directory, 'plugins', 'fc.spec');
  const agent = await machine.agent('agent', { settings: { DOCKER_LISTEN: '127.0.0.1:0', DOCKER_SPEC: spec } });
  await agent.start();
  const url = () => readFileSync(spec, 'utf8').trim().replace('tcp://', 'http://');
  const activated = async () => {
    const answer = await fetch(`${url()}/Plugin.Activate`, { method: 'POST' });
    return JSON.stringify(await answer.json());
  };
  const isThere = async () => (await activated().catch(() => '')) === '{"Implements":["VolumeDriver"]}';
  await until(isThere, { what: 'the plugin answers' });
  const before = url();
  await agent.process.kill();
  t.is(url(), before);
  const greetings = () => readFileSync(join(agent.directory, 'log'), 'utf8').split('is running').length - 1;
  // It may have been killed before its own.
  const greetingsBefore = greetings();
  await agent.start();
  await until(isThere, { what: 'what a killed agent left is replaced' });
  // Before that a signal ends it as it is.
  await until(() => greetings() > greetingsBefore, { what: 'the agent heeds signals' });
  await agent.process.kill('SIGTERM');
  t.throws(url, { code: 'ENOENT' });
});
