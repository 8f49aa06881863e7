/**
 * The project's image, built by a real engine as its Dockerfile says: npm fetches what the product depends on from its
 * registry. The base is made of this machine's own files, because no image can be pulled; for the same reason the
 * compose file, which wants PostgreSQL's and Redis's images, is only read by docker-compose, not started.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../support/controlled-machine.ts';
import { until } from '../support/daemon.ts';
import { debianBaseChanges, installDebianBase } from '../support/debian-base.ts';
import { DockerEngine, debianPath } from '../support/docker-engine.ts';
import { testOf } from '../support/groups.ts';
import { projectRoot } from '../tidy/source-tree.ts';

const test = testOf('clients').serial;
const run = promisify(execFile);

test('the image is built on a base of this machine, and the controller and standalone run in it', async (t) => {
  t.timeout(170_000);
  const engine = await DockerEngine.start(t, { hostNetwork: true });
  await engine.importImage('fc/debian:1', installDebianBase, ...debianBaseChanges);
  const build = ['build', '--network', 'host', '--build-arg', 'BASE_IMAGE=fc/debian:1', '-t', 'fc-redirect'];
  await engine.docker(...build, projectRoot);
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

test('docker-compose accepts the compose file, and insists on a password (started it is not: its other images are not here)', async (t) => {
  const config = (environment: NodeJS.ProcessEnv) =>
    run('docker-compose', ['-f', join(projectRoot, 'docker-compose.yml'), 'config', '--services'], {
      env: { PATH: debianPath, ...environment },
    });
  const { stdout } = await config({ FCR_POSTGRES_PASSWORD: 'chosen' });
  t.deepEqual(stdout.trim().split('\n').sort(), ['controller', 'postgres', 'redis', 'worker']);
  await t.throwsAsync(config({}), { message: /choose a password/ });
});
