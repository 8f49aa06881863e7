/** What podman takes for its own: it adopts every volume that the plugin lists, and prunes what it has adopted. */
import { mkdtempSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { image } from '../support/docker-engine.ts';
import { callPlugin, ownPlugin } from '../support/docker-world.ts';
import { testOf } from '../support/groups.ts';
import { PodmanEngine } from '../support/podman-engine.ts';
import { StandaloneMachine } from '../support/standalone-machine.ts';

const test = testOf('clients').serial;

async function withForeignVolumes(t: ExecutionContext, removes: 'any' | 'own') {
  const { socketPath } = ownPlugin(t);
  const machine = await StandaloneMachine.start(t, { DOCKER_SOCKET: socketPath, DOCKER_REMOVES: removes });
  const engine = await PodmanEngine.start(t, socketPath);
  for (const name of ['foreign', 'used']) await machine.controller.volumeCreate({ name });
  await engine.podman('volume', 'create', '--driver', 'fc', 'own');
  const known = async () => (await engine.podman('volume', 'ls', '-q')).split('\n').sort();
  t.deepEqual(await known(), ['own']);
  await engine.podman('volume', 'reload');
  t.deepEqual(await known(), ['foreign', 'own', 'used']);
  await engine.podman('run', '-d', '--name', 'user', '-v', 'used:/data', image, 'sleep', '600');
  const there = async () => (await machine.controller.volumeList({ state: 'allocated' })).items.map(({ name }) => name);
  return { engine, there };
}

test('podman lists what others made once it has reloaded, and its prune then destroys that', async (t) => {
  t.timeout(90_000);
  const { engine, there } = await withForeignVolumes(t, 'any');
  await engine.podman('volume', 'prune', '-f');
  t.deepEqual(await there(), ['used']);
});

test('where engines remove their own alone, a prune by podman leaves what others made', async (t) => {
  t.timeout(90_000);
  const { engine, there } = await withForeignVolumes(t, 'own');
  const prune = engine.podman('volume', 'prune', '-f');
  await t.throwsAsync(prune, { message: /"foreign" was not made so: fcr volume delete foreign/ });
  t.deepEqual((await there()).sort(), ['foreign', 'used']);
  t.is(await engine.podman('volume', 'inspect', '--format', '{{.Driver}}', 'foreign'), 'fc');
});

test('podman at a socket of its own leaves what Docker made, and prunes what it made itself', async (t) => {
  t.timeout(90_000);
  const { socketPath } = ownPlugin(t);
  const podmanSocket = join(mkdtempSync('/var/tmp/fcr-podman-socket-'), 'podman.sock');
  t.teardown(() => rmSync(dirname(podmanSocket), { recursive: true, force: true }));
  const settings = { DOCKER_SOCKET: socketPath, DOCKER_REMOVES: 'own', DOCKER_PODMAN_SOCKET: podmanSocket };
  const machine = await StandaloneMachine.start(t, settings);
  const engine = await PodmanEngine.start(t, podmanSocket);
  t.deepEqual(await callPlugin(socketPath, 'VolumeDriver.Create', { Name: 'dockers', Opts: null }), { Err: '' });
  for (const name of ['podmans', 'dockers']) await engine.podman('volume', 'create', '--driver', 'fc', name);
  const prune = engine.podman('volume', 'prune', '-f');
  await t.throwsAsync(prune, { message: /"dockers" was not made so: fcr volume delete dockers/ });
  const there = async () => (await machine.controller.volumeList({ state: 'allocated' })).items.map(({ name }) => name);
  t.deepEqual(await there(), ['dockers']);
  t.is(await engine.run('dockers', 'echo shared > /data/file; cat /data/file'), 'shared');
  t.deepEqual(await callPlugin(socketPath, 'VolumeDriver.Remove', { Name: 'dockers' }), { Err: '' });
  t.deepEqual(await there(), []);
});
