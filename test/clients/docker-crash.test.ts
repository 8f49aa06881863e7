/** The product, or dockerd, is killed while containers use volumes. */
import type { ExecutionContext } from 'ava';
import { until } from '../support/daemon.ts';
import { type EngineOptions, image } from '../support/docker-engine.ts';
import { callPlugin, DockerWorld } from '../support/docker-world.ts';
import { testOf } from '../support/groups.ts';

const test = testOf('clients').serial;
const deadlineMs = 150_000;

async function withContainer(t: ExecutionContext, options: EngineOptions = {}): Promise<DockerWorld> {
  t.timeout(deadlineMs);
  const world = await DockerWorld.start(t, options);
  await world.create('data');
  await world.engine.docker('run', '-d', '--name', 'user', '-v', 'data:/data', image, 'sleep', '600');
  await world.engine.docker('exec', 'user', 'sh', '-c', 'echo before > /data/file');
  return world;
}

test('HAZARDS 10: the agent is killed: the container keeps its data path, and is unmounted after the restart', async (t) => {
  const world = await withContainer(t);
  const { engine, machine } = world;
  await machine.kill();
  await engine.docker('exec', 'user', 'sh', '-c', 'echo while nobody ran > /data/file; sync');
  await machine.start();
  t.is(await engine.docker('exec', 'user', 'cat', '/data/file'), 'while nobody ran');
  await engine.docker('rm', '-f', 'user');
  await world.comesToRest(t);
  t.is(await engine.run('data', 'cat /data/file'), 'while nobody ran');
  await engine.docker('volume', 'rm', 'data');
});

test('a container stopped while the agent is down is started again on the same mount', async (t) => {
  const world = await withContainer(t);
  const { engine, machine } = world;
  await machine.kill();
  // Its Unmount finds nobody, and is not sent again.
  await engine.docker('kill', 'user').catch(() => undefined);
  await engine.docker('wait', 'user');
  await machine.start();
  await engine.docker('start', 'user');
  t.is(await engine.docker('exec', 'user', 'cat', '/data/file'), 'before');
  t.is((await world.left()).records, 1);
  await engine.docker('rm', '-f', 'user');
  await world.comesToRest(t);
  await engine.docker('volume', 'rm', 'data');
});

test('dockerd is killed and started again: once nothing runs, the volume can be removed', async (t) => {
  const world = await withContainer(t);
  const { engine } = world;
  await engine.docker('run', '-d', '--rm', '--name', 'second', '-v', 'data:/data', image, 'sleep', '600');
  await engine.kill();
  await engine.up();
  await engine.docker('rm', '-f', 'user').catch(() => undefined);
  await engine.docker('rm', '-f', 'second').catch(() => undefined);
  const [volume] = JSON.parse(await engine.docker('volume', 'inspect', 'data'));
  t.true(volume.Status.references.length > 0, 'the killed engine left no reference: this test shows nothing');
  // To the agent they might be of a container that is being started: for so long it refuses.
  const isRemoved = () => engine.docker('volume', 'rm', 'data').then(Boolean, () => false);
  await until(isRemoved, { what: 'the volume is removed', timeoutMs: 60_000, everyMs: 500 });
  t.is(await world.machine.controller.volumeGet('data'), null);
  await world.comesToRest(t);
});

test('dockerd with live-restore is killed: the running container keeps the volume, and nobody removes it', async (t) => {
  const world = await withContainer(t, { liveRestore: true });
  const { engine, machine } = world;
  await engine.kill();
  const { Err } = await callPlugin(world.socketPath, 'VolumeDriver.Remove', { Name: 'data' });
  t.regex(Err, /in use on this host: process \d+ \(sleep\) of container [0-9a-f]{12} has it at \/data/);
  await engine.up();
  t.is(await engine.docker('exec', 'user', 'cat', '/data/file'), 'before');
  await engine.docker('rm', '-f', 'user');
  await engine.docker('volume', 'rm', 'data');
  t.is(await machine.controller.volumeGet('data'), null);
  await world.comesToRest(t);
});
