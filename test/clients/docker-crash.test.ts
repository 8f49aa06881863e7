/** The product, or dockerd, is killed while containers use volumes. */
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { MountJournal } from '../../src/agent/mount-journal.ts';
import { until } from '../support/daemon.ts';
import { type EngineOptions, image } from '../support/docker-engine.ts';
import { callPlugin, DockerWorld } from '../support/docker-world.ts';
import { testOf } from '../support/groups.ts';
import { takeDownMounts } from '../support/linux-host-harness.ts';
import type { StandaloneMachine } from '../support/standalone-machine.ts';

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
  const isRemoved = () =>
    engine.docker('volume', 'rm', 'data').then(
      () => true,
      (error: unknown) => {
        t.regex(String(error), /in use on this host: an engine has just mounted it.*Repeat this in \d+ s/);
        return false;
      },
    );
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

/** The next start of the agent is in another boot than its records. */
async function forgetBoot(machine: StandaloneMachine): Promise<void> {
  const journal = await MountJournal.open(join(machine.directory, 'data/agent/mounts.journal'));
  for (const record of journal.list()) await journal.put({ ...record, bootId: 'before' });
  await journal.close();
}

test('HAZARDS 19: the machine goes down: a container that is started again has its volume, that of another is given back', async (t) => {
  t.timeout(deadlineMs);
  const world = await DockerWorld.start(t);
  const { engine, machine } = world;
  const script = 'echo once more >> /data/file; sync; sleep 600';
  for (const [name, restart] of [
    ['again', 'always'],
    ['died', 'no'],
  ] as const) {
    await world.create(name);
    await engine.docker(
      ...['run', '-d', '--restart', restart, '--name', name, '-v', `${name}:/data`, image, 'sh', '-c', script],
    );
  }
  const hasRun = async (name: string, times: number) => {
    const written = Array.from({ length: times }, () => 'once more').join('\n');
    const read = () => engine.docker('exec', name, 'cat', '/data/file').catch(() => '');
    await until(async () => (await read()) === written, { what: `${name} has run`, timeoutMs: 60_000, everyMs: 50 });
  };
  await Promise.all([hasRun('again', 1), hasRun('died', 1)]);
  await machine.kill();
  await engine.goDown();
  takeDownMounts(machine.directory);
  await forgetBoot(machine);

  await machine.start();
  await engine.up();
  await hasRun('again', 2);
  const volumes = async () => (await machine.mounts()).map(({ volume }) => volume);
  await until(async () => String(await volumes()) === 'again', { what: 'the other volume is given back' });
  const attached = async () => (await machine.controller.attachmentPage()).items.map(({ volume }) => volume);
  await until(async () => String(await attached()) === 'again', { what: 'its attachment has ended' });
  await engine.docker('start', 'died');
  await hasRun('died', 2);
  await engine.docker('rm', '-f', 'again', 'died');
  await world.comesToRest(t);
  await engine.docker('volume', 'rm', 'again', 'died');
});
