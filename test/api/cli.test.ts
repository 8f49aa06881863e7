/** The command line against the whole product: every resource made, shown, changed and removed. */
import test, { type ExecutionContext } from 'ava';
import { startStandalone } from '../../src/bin/compose/standalone.ts';
import { loadConfig } from '../../src/config/load.ts';
import { runCli } from '../../src/frontends/cli/run.ts';
import { ControllerClient } from '../../src/http/client.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import { TestCli } from '../support/cli.ts';
import { until } from '../support/daemon.ts';

interface Product {
  readonly cli: TestCli;
  /** Its REST API over TCP. */
  readonly url: string;
  readonly close: () => Promise<void>;
}

async function startProduct(
  t: ExecutionContext,
  cli = new TestCli(t),
  settings: Readonly<Record<string, string>> = {},
): Promise<Product> {
  const flags = {
    dataDir: cli.directory,
    listen: '127.0.0.1:0',
    'host.mode': 'simulated',
    'storageNode.kind': 'simulated',
    'defaultPool.volumeSize': '16MiB',
    ...settings,
  };
  const surroundings = { isRoot: false, home: '/home/ann', hostName: 'node1', environment: {} };
  const { config } = loadConfig({ surroundings, flags, readFile: () => null });
  const product = await startStandalone(config, silentLog, (message) => t.fail(message));
  t.teardown(() => product.close());
  return { cli, url: `http://127.0.0.1:${product.listening.port}`, close: () => product.close() };
}

/** Runs one command, which must work, and answers its JSON. */
async function ask(t: ExecutionContext, cli: TestCli, ...words: readonly string[]): Promise<Record<string, unknown>> {
  const { code, out, err } = await cli.run(...words, '--json');
  t.is(code, 0, `fcr ${words.join(' ')}: ${err}`);
  return JSON.parse(out === '' ? '{}' : out);
}

test('a pool is created, filled, changed, drained and deleted', async (t) => {
  const { cli } = await startProduct(t);
  const create = [
    'pool',
    'create',
    'fast',
    '--size',
    '32MiB',
    '--min-free',
    '2',
    '--max-volumes',
    '5',
    '--backend',
    'file',
  ];
  t.like(await ask(t, cli, ...create), { name: 'fast', minFree: 2 });
  t.is((await cli.run(...create, '--filesystem', 'xfs')).code, 2);
  t.is((await cli.run(...create.with(create.indexOf('32MiB'), '64MiB'))).code, 4);
  t.like(await ask(t, cli, 'pool', 'wait', 'fast', '--timeout', '60s'), { status: { free: 2 } });
  t.like(await ask(t, cli, 'pool', 'update', 'fast', '--min-free', '1'), { minFree: 1 });
  t.is((await cli.run('pool', 'update', 'fast', '--min-free', '2', '--if-version', '99')).code, 4);
  t.like(await ask(t, cli, 'pool', 'drain', 'fast'), { state: 'draining' });
  t.is((await cli.run('pool', 'delete', 'fast')).code, 0);
  await until(async () => (await cli.run('pool', 'get', 'fast')).code === 3, { what: 'the pool is removed' });
});

test('a volume is created twice as one, attached, detached and deleted', async (t) => {
  const { cli } = await startProduct(t);
  const create = ['volume', 'create', 'data', '--label', 'app=db'];
  const volume = await ask(t, cli, ...create);
  t.like(await ask(t, cli, ...create), { id: volume.id });
  t.is((await cli.run('volume', 'list', '--label', 'app=db', '--quiet')).out, 'data\n');
  const attachment = await ask(t, cli, 'attachment', 'create', 'data', '--host', 'node1');
  t.is((await cli.run('volume', 'delete', 'data')).code, 4);
  t.regex((await cli.run('attachment', 'get', String(attachment.id))).out, /Paths: +\S+ -> \S+ LUN \d/);
  t.is((await cli.run('attachment', 'delete', String(attachment.id))).code, 0);
  t.is((await cli.run('attachment', 'delete', String(attachment.id))).code, 3);
  t.is((await cli.run('volume', 'delete', 'data')).code, 0);
  t.is((await cli.run('volume', 'get', 'data')).code, 3);
  t.is((await cli.run('volume', 'delete', 'data')).code, 3);
  const isProved = async () =>
    /Wipe proof: +medium \d+, simulated/.test((await cli.run('volume', 'get', String(volume.id))).out);
  await until(isProved, { what: 'the proof of the wipe is shown' });
});

test('a volume is mounted, found and unmounted by its name', async (t) => {
  const { cli } = await startProduct(t);
  await ask(t, cli, 'volume', 'create', 'data');
  const mount = await ask(t, cli, 'mount', 'data', `${cli.directory}/here`);
  t.is(mount.path, `${cli.directory}/here`);
  t.is((await cli.run('mounts', '--quiet')).out, `${cli.directory}/here\n`);
  t.is((await cli.run('umount', 'data')).code, 0);
  t.is((await cli.run('mounts', '--quiet')).out, '');
  t.is((await cli.run('mount', 'nothing')).code, 3);
});

test('policies are created, changed under their version, explained and deleted', async (t) => {
  const { cli } = await startProduct(t);
  await ask(t, cli, 'qos-policy', 'create', 'gold', '--max-iops', '500', '--burst');
  t.like(await ask(t, cli, 'qos-policy', 'update', 'gold', '--max-iops', '800'), {
    maxIopsPerContainer: 800,
    burstIops: 1600,
  });
  const flow = ['--initiator', '0x20000242ac110002', '--target', '20:00:02:42:AC:11:00:03'];
  const policy = await ask(t, cli, 'flow-policy', 'create', '--action', 'deny', ...flow, '--qos-policy', 'gold');
  t.like(await ask(t, cli, 'flow-policy', 'resolve', ...flow), { action: 'deny', targetWwpn: null });
  const id = String(policy.id);
  t.like(await ask(t, cli, 'flow-policy', 'update', id, '--action', 'permit', '--qos-policy', 'none'), {
    action: 'permit',
  });
  t.is((await cli.run('flow-policy', 'list', '--initiator', '20000242ac110002', '--quiet')).out, `${id}\n`);
  t.is((await cli.run('flow-policy', 'delete', id)).code, 0);
  t.is((await cli.run('qos-policy', 'delete', 'gold')).code, 0);
  t.is((await cli.run('qos-policy', 'get', 'gold')).code, 3);
});

test('a token works over TCP for what its role may do, until it is deleted', async (t) => {
  const { cli, url } = await startProduct(t);
  const viewer = await ask(t, cli, 'token', 'create', 'eyes', '--role', 'viewer', '--expires', '1h');
  const over = ['--server', url, '--token', String(viewer.secret)];
  t.is((await cli.run('pool', 'list', ...over)).code, 0);
  t.is((await cli.run('volume', 'create', 'data', ...over)).code, 5);
  cli.environment.FCR_LISTEN = new URL(url).host;
  t.is((await cli.run('pool', 'list', '--server', url)).code, 0, 'the admin token file is found');
  t.is((await cli.run('token', 'delete', String(viewer.id))).code, 0);
  t.is((await cli.run('pool', 'list', ...over)).code, 5);
});

/** A machine of which nothing is heard after this, with the volume claimed by it. */
async function silentHost(t: ExecutionContext, { cli, url }: Product, name: string, volume: string): Promise<void> {
  const { secret } = await ask(t, cli, 'token', 'create', 'boss', '--role', 'admin');
  const client = new ControllerClient({ endpoint: { url }, token: String(secret) });
  const initiatorPorts = [
    { wwpn: '20:00:02:42:ac:11:00:09', fabric: 'local', state: 'online', synthesized: true },
  ] as const;
  await client.hostRegister({ name, machineId: 'machine-9', bootId: 'boot-9', simulated: true, initiatorPorts });
  await client.attachmentCreate({ volume, host: name, claim: true });
  client.close();
}

test('what a lost host holds is taken back by a person who says that it is off, and by nobody else', async (t) => {
  const product = await startProduct(t, new TestCli(t), { 'host.silence': '1s', 'reconcile.hosts': '1s' });
  const { cli } = product;
  await ask(t, cli, 'volume', 'create', 'data');
  await silentHost(t, product, 'node9', 'data');
  t.regex((await cli.run('volume', 'delete', 'data')).err, /attached to host "node9"/);
  const isOffline = async () => /State: +offline/.test((await cli.run('host', 'get', 'node9')).out);
  await until(isOffline, { what: 'the host is offline' });
  const unsaid = await cli.run('host', 'lost', 'node9');
  t.is(unsaid.code, 2);
  t.regex(unsaid.err, /"node9" holds data\. .*two hosts write to the same bytes.* switched off.*--yes confirms it/s);
  t.regex((await cli.run('attachment', 'list')).out, /node9 +exported +claimed/);
  t.is(
    (await cli.run('host', 'lost', 'node9', '--yes')).out,
    'data detached from node9\nnode9 holds nothing any more\n',
  );
  t.is((await cli.run('attachment', 'list', '--quiet')).out, '');
  t.is((await cli.run('host', 'lost', 'node9')).out, 'node9 holds nothing any more\n');
  t.is((await cli.run('host', 'delete', 'node9')).code, 0);
  t.is((await cli.run('host', 'lost', 'node9', '--yes')).code, 3);
  t.is((await cli.run('volume', 'delete', 'data')).code, 0);
});

test('a batch tells the outcome of each of its operations', async (t) => {
  const { cli } = await startProduct(t);
  const operations = ['a', 'a', 'b'].map((name) => ({ type: 'volume.create', params: { name, pool: 'default' } }));
  cli.input = JSON.stringify({ operations: [...operations, { type: 'volume.delete', params: { volume: 'none' } }] });
  const { code, out } = await cli.run('operation', 'submit', '--file', '-');
  t.is(code, 3);
  t.is(out.match(/succeeded/g)?.length, 3);
  t.regex(out, /volume\.delete +failed +- +volume-not-found/);
  t.is((await cli.run('operation', 'list', '--state', 'failed', '--quiet')).out.trim().split('\n').length, 1);
});

test('events are followed over a controller that goes away: none is missed, and none comes twice', async (t) => {
  const { cli, close } = await startProduct(t);
  const written = { out: '', err: '' };
  const following = runCli(['events', '--json'], cli.world(written));
  const cursors = () =>
    written.out.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line).cursor as string]));
  const shows = (name: string) => until(() => written.out.includes(`"name":"${name}"`), { what: `${name} is shown` });
  await until(
    async () => {
      // The stream may begin behind the first of them.
      await ask(t, cli, 'volume', 'create', 'a');
      await ask(t, cli, 'volume', 'delete', 'a');
      return written.out !== '';
    },
    { what: 'the stream has begun' },
  );
  await close();
  await until(() => written.err.includes('is resumed'), { what: 'the loss was told' });
  await startProduct(t, cli);
  await ask(t, cli, 'volume', 'create', 'b');
  await shows('b');
  const again = { out: '', err: '' };
  const whole = runCli(['events', '--json', '--after', 'start'], cli.world(again));
  await until(() => again.out.includes('"name":"b"'), { what: 'all kept events are shown' });
  cli.interrupt();
  t.deepEqual([await following, await whole], [0, 0]);
  const [first] = cursors();
  const kept = again.out.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line).cursor as string]));
  const seen = cursors();
  t.deepEqual(seen, kept.slice(kept.indexOf(first ?? ''), kept.indexOf(first ?? '') + seen.length));
  t.true(seen.length > 3);
});

test('events of a controller that was never there are an error at once', async (t) => {
  const { code, err } = await new TestCli(t).run('events');
  t.is(code, 6);
  t.regex(err, /controller-unavailable/);
});

test('hosts, storage nodes and events are shown', async (t) => {
  const { cli } = await startProduct(t);
  const hosts = async () => (await cli.run('host', 'list', '--quiet')).out;
  await until(async () => (await hosts()) === 'node1\n', { what: 'the host has registered itself' });
  t.regex((await cli.run('host', 'get', 'node1')).out, /Devices: +simulated/);
  t.is((await cli.run('storage-node', 'list', '--quiet')).out, 'node1\n');
  const events = cli.run('events');
  const shown = cli.run('volume', 'create', 'data');
  t.is((await shown).code, 0);
  cli.interrupt();
  t.is((await events).code, 0);
});
