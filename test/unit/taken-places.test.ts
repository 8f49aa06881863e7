import { mkdtempSync, rmSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { standaloneParts, startStandalone } from '../../src/bin/compose/standalone.ts';
import { loadConfig } from '../../src/config/load.ts';
import { silentLog } from '../../src/telemetry/log.ts';

function directory(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'fcr-taken-'));
  t.teardown(() => rmSync(path, { recursive: true }));
  return path;
}

async function takenBy(t: ExecutionContext, where: net.ListenOptions): Promise<AddressInfo> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(where, resolve));
  t.teardown(() => void server.close());
  return server.address() as AddressInfo;
}

/** The store, which takes its time, is not opened at all. */
function start(t: ExecutionContext, flags: Readonly<Record<string, string>>) {
  const surroundings = { isRoot: false, home: '/home/ann', hostName: 'node1', environment: {} };
  const stated = { dataDir: directory(t), 'host.mode': 'simulated', 'storageNode.kind': 'simulated', ...flags };
  const { config } = loadConfig({ surroundings, flags: stated, readFile: () => null });
  const openStore = () => Promise.reject(new Error('the store was opened'));
  return startStandalone(config, silentLog, (message) => t.fail(message), { ...standaloneParts, openStore });
}

test('an address that is taken is told before the store is opened', async (t) => {
  const { port } = await takenBy(t, { host: '127.0.0.1', port: 0 });
  await t.throwsAsync(start(t, { listen: `127.0.0.1:${port}` }), {
    message: /another process listens there; listen \(FCR_LISTEN\)/,
  });
});

test('a socket that is taken is told before the store is opened, with the setting that moves it', async (t) => {
  const socketDirectory = directory(t);
  await takenBy(t, { path: join(socketDirectory, 'controller.sock') });
  await t.throwsAsync(start(t, { socketDirectory, listen: '127.0.0.1:0' }), {
    message:
      /Another process listens on .*controller\.sock; socketDirectory \(FCR_SOCKET_DIRECTORY\) takes another place/,
  });
});
