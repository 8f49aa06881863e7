/** docker-compose and a Swarm service on volumes of the product. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../support/daemon.ts';
import { image } from '../support/docker-engine.ts';
import { DockerWorld } from '../support/docker-world.ts';
import { testOf } from '../support/groups.ts';

const test = testOf('clients').serial;
const deadlineMs = 170_000;

test('docker-compose up and down: the volume outlives the containers, and goes with down --volumes', async (t) => {
  t.timeout(deadlineMs);
  const world = await DockerWorld.start(t);
  const { engine, plugin } = world;
  const service = (command: string) => ({
    image,
    command: ['sh', '-c', command],
    network_mode: 'none',
    volumes: ['data:/data'],
  });
  const file = {
    version: '3.8',
    services: { writer: service('date >> /data/log; sync'), reader: service('sleep 600') },
    volumes: { data: { driver: plugin, driver_opts: { size: '32MiB', 'label.app': 'compose' } } },
  };
  writeFileSync(join(engine.directory, 'docker-compose.yml'), JSON.stringify(file));
  const compose = (...words: readonly string[]) =>
    engine.command('/usr/bin/docker-compose', ['--project-name', 'shop', ...words]);
  await compose('up', '-d');
  t.like(await world.machine.controller.volumeGet('shop_data'), { labels: { app: 'compose' } });
  await until(async () => (await compose('exec', '-T', 'reader', 'cat', '/data/log')) !== '', {
    what: 'it is written',
  });
  await compose('down', '-t', '0');
  await world.comesToRest(t);
  await compose('up', '-d');
  const isThere = async () => (await compose('exec', '-T', 'reader', 'cat', '/data/log')).split('\n').length >= 2;
  await until(isThere, { what: 'both runs have written' });
  await compose('down', '-t', '0', '--volumes');
  t.is(await world.machine.controller.volumeGet('shop_data'), null);
  await world.comesToRest(t);
});

test('two replicas of a Swarm service have a volume each, and find it again', async (t) => {
  t.timeout(deadlineMs);
  const world = await DockerWorld.start(t);
  const { engine, plugin } = world;
  // The scheduler knows the plugins that its nodes have talked to.
  await engine.docker('volume', 'ls');
  await engine.docker('swarm', 'init', '--advertise-addr', '127.0.0.1', '--listen-addr', '127.0.0.1:2377');
  const source = 'type=volume,source=shard-{{.Task.Slot}},target=/data';
  const mount = `${source},volume-driver=${plugin},volume-opt=size=32MiB`;
  const script = 'echo $SLOT >> /data/slots; sleep 600';
  await engine.docker(
    ...['service', 'create', '--detach', '--name', 'db', '--replicas', '2', '--mount', mount],
    ...['--env', 'SLOT={{.Task.Slot}}', '--network', 'host', '--no-resolve-image', image, 'sh', '-c', script],
  );
  const tasks = async () => (await engine.docker('ps', '-q')).split('\n').filter((id) => id !== '');
  const reads = async (id: string) => await engine.docker('exec', id, 'cat', '/data/slots').catch(() => '');
  const written = async () => (await Promise.all((await tasks()).map(reads))).sort().join(' | ');
  await until(async () => (await written()) === '1 | 2', {
    what: 'two replicas write',
    timeoutMs: 60_000,
    everyMs: 200,
  });
  const [victim = ''] = await tasks();
  await engine.docker('kill', victim);
  const again = async () =>
    /^1( 1)? \| 2( 2)?$/.test((await written()).replaceAll('\n', ' ')) && (await written()).includes('\n');
  await until(again, { what: 'the replaced task has its volume again', timeoutMs: 60_000, everyMs: 200 });
  await engine.docker('service', 'rm', 'db');
  await until(async () => (await engine.docker('ps', '-aq')) === '', { what: 'no task is left', timeoutMs: 60_000 });
  await world.comesToRest(t);
  await engine.docker('volume', 'rm', 'shard-1', 'shard-2');
});
