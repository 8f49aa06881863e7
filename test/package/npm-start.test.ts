/** `npm start` as a service manager or a shell runs it: what it is told, the service is told. */
import { join } from 'node:path';
import test from 'ava';
import { ControllerClient } from '../../src/http/client.ts';
import { Daemon, daemonDirectory, removeDaemonDirectory, signalPid, until } from '../support/daemon.ts';
import { projectRoot } from '../tidy/source-tree.ts';

test('SIGTERM to npm start ends the service', async (t) => {
  t.timeout(120_000);
  const directory = daemonDirectory('npm-start');
  t.teardown(() => removeDaemonDirectory(directory));
  const settings = { DATA_DIR: directory, SOCKET_DIRECTORY: directory, LISTEN: '127.0.0.1:0', HOST_MODE: 'simulated' };
  const environment = Object.entries(settings).map(([name, value]) => `FCR_${name}=${value}`);
  const npm = new Daemon(directory, {
    argv: ['env', `PATH=${process.env.PATH}`, ...environment, 'npm', '--prefix', projectRoot, 'start'],
    parentDeathSignal: 'KILL',
    logFile: join(directory, 'log'),
  });
  const client = new ControllerClient({ endpoint: { socketPath: join(directory, 'controller.sock') } });
  t.teardown(() => client.close());
  const answers = () =>
    client.poolList().then(
      () => true,
      () => false,
    );
  await until(answers, { what: 'the service answers', timeoutMs: 60_000, everyMs: 50 });
  for (const pid of npm.children()) t.teardown(() => signalPid(pid, 'SIGKILL'));
  npm.signal('SIGTERM');
  await until(async () => !(await answers()), { what: 'the service has ended', timeoutMs: 30_000, everyMs: 50 });
  t.true(await npm.exited(30_000), npm.logTail);
});
