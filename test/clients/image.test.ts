/**
 * The project's image, built by a real engine as its Dockerfile says, and the compose file, run by docker-compose as
 * docs/OPERATING.md says. npm fetches what the product depends on from its registry; the image's base, and those of
 * PostgreSQL and Redis, are made of this machine's own files, because no image can be pulled.
 */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import ava, { type ExecutionContext } from 'ava';
import { ComposedMachine } from '../support/composed-machine.ts';
import { freePort } from '../support/controlled-machine.ts';
import { until } from '../support/daemon.ts';
import { debianBaseChanges, installDebianBase } from '../support/debian-base.ts';
import { DockerEngine, debianPath } from '../support/docker-engine.ts';
import { testOf } from '../support/groups.ts';
import { projectRoot } from '../tidy/source-tree.ts';

const test = testOf('clients').serial;
const run = promisify(execFile);
const baseImage = 'fc/debian:1';

/** The tests share the engine, because the image takes longest. */
let building: Promise<DockerEngine> | null = null;
const ends: (() => unknown)[] = [];
ava.after.always(async () => {
  for (const end of ends.reverse()) await end();
});

function engineWithImage(): Promise<DockerEngine> {
  building ??= build();
  return building;
}

async function build(): Promise<DockerEngine> {
  const options = { network: 'machine', withoutPlugins: true } as const;
  const engine = await DockerEngine.start({ teardown: (end) => ends.push(end) }, options);
  await engine.importImage(baseImage, installDebianBase, ...debianBaseChanges);
  const words = ['build', '--network', 'host', '--build-arg', `BASE_IMAGE=${baseImage}`, '-t', 'fc-redirect'];
  await engine.docker(...words, projectRoot);
  return engine;
}

test('the image is built on a base of this machine, and the controller and standalone run in it', async (t) => {
  t.timeout(170_000);
  const engine = await engineWithImage();
  for (const mode of ['controller', 'standalone']) {
    const port = await freePort();
    const listen = `FCR_LISTEN=127.0.0.1:${port}`;
    await engine.docker('run', '-d', '--network', 'host', '--name', mode, '-e', listen, 'fc-redirect', mode);
    const answer = async (path: string) =>
      (await fetch(`http://127.0.0.1:${port}${path}`).catch(() => undefined))?.status;
    const isReady = async () => (await answer('/readyz')) === 200;
    const waited = until(isReady, { what: `${mode} is ready`, timeoutMs: 30_000, everyMs: 100 });
    await waited.catch(async (error) => t.fail(`${error}\n${await engine.docker('logs', mode)}`));
    t.is(await answer('/healthz'), 200);
    await engine.docker('stop', mode);
    t.is(await engine.docker('inspect', '-f', '{{.State.ExitCode}}', mode), '0');
  }
});

test('docker-compose insists on a password', async (t) => {
  const config = (environment: NodeJS.ProcessEnv) =>
    run('docker-compose', ['-f', join(projectRoot, 'docker-compose.yml'), 'config', '--services'], {
      env: { PATH: debianPath, ...environment },
    });
  const { stdout } = await config({ FCR_POSTGRES_PASSWORD: 'chosen' });
  t.deepEqual(stdout.trim().split('\n').sort(), ['controller', 'postgres', 'redis', 'worker']);
  await t.throwsAsync(config({}), { message: /choose a password/ });
});

test('what docker-compose has started serves an agent beside it, and keeps everything when its parts are killed', async (t) => {
  t.timeout(600_000);
  const machine = await ComposedMachine.make(t, await engineWithImage(), baseImage);
  await serves(t, machine).catch(async (error) => t.fail(`${error}\n${await machine.logs()}`));
});

async function serves(t: ExecutionContext, machine: ComposedMachine): Promise<void> {
  await machine.start();
  await machine.areHealthy();
  const { client, agent } = machine;
  const pool = { backend: 'file', volumeSizeBytes: '32MiB', filesystem: 'ext4', minFree: 2, maxVolumes: 20 } as const;
  await client.poolCreate({ name: 'small', ...pool });
  await client.volumeCreate({ name: 'first', pool: 'small' });
  const mount = await agent.mount('first');
  const file = join(mount.path, 'file');
  writeFileSync(file, 'kept');

  for (const service of ['worker', 'redis', 'postgres', 'controller'] as const) {
    await Promise.all([machine.crash(service), isMade(machine, `without-${service}`)]);
  }
  const policy = await machine.compose('exec', '-T', 'redis', 'redis-cli', 'config', 'get', 'maxmemory-policy');
  t.regex(policy, /noeviction/);

  const volumes = async () =>
    (await client.volumeList({ pool: 'small' })).items
      .filter(({ name }) => name !== null)
      .map(({ id, name }) => [id, name]);
  const before = await volumes();
  t.is(before.length, 5);
  for (const words of [['restart'], ['down'], ['up', '--detach']]) await machine.compose(...words);
  await machine.isReady();
  t.deepEqual(await volumes(), before);
  t.is(readFileSync(file, 'utf8'), 'kept');

  await agent.unmount(mount.id);
  t.deepEqual(await agent.mounts(), []);
  await client.volumeDelete('first');
  await isMade(machine, 'last');
  await machine.compose('down', '--volumes');
  t.is(await machine.engine.docker('volume', 'ls', '-qf', 'driver=local'), '');
}

/** Whatever is away: what was asked for is made once it is back. */
async function isMade({ client }: ComposedMachine, name: string): Promise<void> {
  const isThere = async () => (await client.volumeGet(name))?.state === 'allocated';
  const asked = () => client.volumeCreate({ name, pool: 'small' }).then(isThere, () => false);
  await until(asked, { what: `${name} is made`, timeoutMs: 60_000, everyMs: 200 });
}
