/** The commands of docs/docker.md, as a reader would type them. Plugin, sockets and engines are the test's own. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { installBusybox } from '../support/docker-engine.ts';
import { DockerWorld } from '../support/docker-world.ts';
import { markedBlocks, scriptOf } from '../support/document-commands.ts';
import { testOf } from '../support/groups.ts';
import { PodmanEngine } from '../support/podman-engine.ts';

const test = testOf('clients').serial;
const run = promisify(execFile);
const deadlineMs = 300_000;

test('the commands of docs/docker.md do what it says, and leave nothing behind', async (t) => {
  t.timeout(deadlineMs);
  const world = await DockerWorld.start(t);
  const { engine, plugin, socketPath } = world;
  await engine.importImage('busybox', (root) => installBusybox(root));
  const podman = await PodmanEngine.start(t, socketPath, 'busybox');
  const blocks = markedBlocks('docs/docker.md');
  t.true(blocks.length >= 6);
  const script = scriptOf(blocks)
    .replaceAll('/run/docker/plugins/fc.sock', socketPath)
    .replaceAll(/(docker .*-d |driver: |volume-driver[ =])fc\b/g, `$1${plugin}`);
  const podmanFunction = `podman() { env -u DOCKER_CONFIG -C ${podman.directory} ${podman.commandLine.join(' ')} "$@"; }`;
  const env = { ...engine.environment, ...podman.configured };
  const options = { cwd: engine.directory, env, timeout: deadlineMs - 20_000 };
  await t.notThrowsAsync(run('bash', ['-x', '-c', `${podmanFunction}\n${script}`], options));
  // An engine lists what every plugin of the machine has, those of tests beside this one included.
  const own = ['-f', `driver=${plugin}`, '-f', 'driver=local'];
  t.is(await engine.docker('volume', 'ls', '-q', ...own), '');
  await world.comesToRest(t);
});
