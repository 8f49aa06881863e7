import test from 'ava';
import fc from 'fast-check';
import { type Loaded, loadConfig } from '../../src/config/load.ts';
import { environmentVariableOf, flagOf, settingKeys } from '../../src/config/settings.ts';
import { Failure } from '../../src/domain/errors.ts';

interface World {
  readonly isRoot?: boolean;
  readonly environment?: Record<string, string>;
  readonly flags?: Record<string, string>;
  readonly configFile?: string;
  readonly files?: Record<string, string>;
}

function load(world: World = {}): Loaded {
  return loadConfig({
    surroundings: {
      isRoot: world.isRoot ?? false,
      home: '/home/ann',
      hostName: 'node1',
      environment: world.environment ?? {},
    },
    flags: world.flags ?? {},
    configFile: world.configFile,
    readFile: (path) => world.files?.[path] ?? null,
  });
}

function sourceOf(loaded: Loaded, key: string): string | undefined {
  return loaded.sources.find((item) => item.key === key)?.source;
}

function mistakeOf(world: World): string {
  try {
    load(world);
    return 'accepted';
  } catch (error) {
    if (error instanceof Failure && error.code === 'invalid-configuration') return error.message;
    throw error;
  }
}

test('root keeps its data and sockets where the system wants them', (t) => {
  const { config } = load({ isRoot: true });
  t.is(config.dataDir, '/var/lib/fc-redirect');
  t.is(config.controllerSocket, '/run/fc-redirect/controller.sock');
  t.is(config.agentSocket, '/run/fc-redirect/agent.sock');
  t.deepEqual(config.listen, { host: '127.0.0.1', port: 8080 });
});

test('anybody else keeps them under the XDG data directory', (t) => {
  t.is(load().config.dataDir, '/home/ann/.local/share/fc-redirect');
  const { config } = load({ environment: { XDG_DATA_HOME: '/x' } });
  t.is(config.controllerSocket, '/x/fc-redirect/controller.sock');
});

test('a flag wins over the environment, the environment over the file, the file over the default', (t) => {
  const files = { '/d/fcr.yaml': 'listen: 127.0.0.1:1\nlog: {level: debug}\nhost:\n  name: a\n' };
  const environment = { FCR_DATA_DIR: '/d', FCR_LISTEN: '127.0.0.1:2', FCR_HOST_NAME: 'b' };
  const loaded = load({ files, environment, flags: { listen: '127.0.0.1:3' } });
  t.is(loaded.config.listen.port, 3);
  t.is(loaded.config.host.name, 'b');
  t.is(loaded.config.log.level, 'debug');
  t.is(loaded.config.store.kind, 'sqlite');
  t.deepEqual(
    ['listen', 'host.name', 'log.level', 'store'].map((key) => sourceOf(loaded, key)),
    ['flag --listen', 'environment FCR_HOST_NAME', '/d/fcr.yaml:2', 'default'],
  );
});

test('the file is the stated one, else the data directory’s, else the system’s', (t) => {
  const files = { '/f.yaml': '', '/d/fcr.yaml': '', '/etc/fc-redirect/fcr.yaml': '' };
  const inData = { FCR_DATA_DIR: '/d' };
  t.is(load({ files, environment: { ...inData, FCR_CONFIG: '/other' }, configFile: '/f.yaml' }).file, '/f.yaml');
  t.is(load({ files, environment: { FCR_CONFIG: '/f.yaml' } }).file, '/f.yaml');
  t.is(load({ files, environment: inData }).file, '/d/fcr.yaml');
  t.is(load({ files }).file, '/etc/fc-redirect/fcr.yaml');
  t.is(load().file, null);
  t.regex(mistakeOf({ configFile: '/gone.yaml' }), /^\/gone\.yaml: .*does not exist/);
});

test('the configuration is frozen through and through', (t) => {
  const { config } = load();
  t.true([config, config.listen, config.reconcile, config.defaultPool, config.storageNode].every(Object.isFrozen));
});

const refused: readonly (readonly [string, World, RegExp])[] = [
  [
    'a value of the environment',
    { environment: { FCR_LISTEN: 'x' } },
    /^listen: "x" .*environment FCR_LISTEN.*accepted: .*127\.0\.0\.1:8080/,
  ],
  ['a value of a flag', { flags: { store: 'mysql' } }, /^store: "mysql" .*flag --store.*accepted: sqlite, postgres/],
  [
    'a value of the file',
    { files: { '/f': '\nlog:\n  level: loud' }, configFile: '/f' },
    /^log\.level: "loud" .*\/f:3\).*accepted: trace/,
  ],
  [
    'a size out of bounds',
    { flags: { 'defaultPool.volumeSize': '1MB' } },
    /^defaultPool\.volumeSize: "1MB".*at least 16MiB/,
  ],
  [
    'a size that is too small for the filesystem',
    { flags: { 'defaultPool.volumeSize': '256MiB', 'defaultPool.filesystem': 'xfs' } },
    /^defaultPool\.volumeSize is 256MiB; accepted: at least 300MiB with defaultPool\.filesystem xfs/,
  ],
  ['a duration without a unit', { flags: { 'reconcile.pools': '5' } }, /^reconcile\.pools: "5".*5m/],
  ['a name that is none', { flags: { 'host.name': '-x' } }, /^host\.name: "-x".*letters, digits/],
  [
    'an unknown key',
    { files: { '/f': 'lisen: 1' }, configFile: '/f' },
    /^lisen: no such setting \(from \/f:1\); did you mean listen\?/,
  ],
  [
    'an unknown nested key',
    { files: { '/f': 'tls: {crt: /x}' }, configFile: '/f' },
    /^tls\.crt: .*did you mean tls\.cert\?/,
  ],
  [
    'a map where a value belongs',
    { files: { '/f': 'listen: {host: a}' }, configFile: '/f' },
    /^listen: no such setting/,
  ],
  [
    'an unknown variable',
    { environment: { FCR_LISTN: 'x' } },
    /^FCR_LISTN: no such setting .*did you mean FCR_LISTEN\?/,
  ],
  [
    'a key that is stated twice',
    { files: { '/f': 'store: sqlite\nstore: sqlite' }, configFile: '/f' },
    /^\/f: .*unique/,
  ],
  ['a file that is a list', { files: { '/f': '- a' }, configFile: '/f' }, /key: value/],
  ['PostgreSQL without a URL', { flags: { store: 'postgres' } }, /postgresUrl must be set/],
  ['BullMQ without a URL', { flags: { queue: 'bullmq' } }, /redisUrl must be set/],
  ['half of TLS', { flags: { 'tls.cert': '/c' } }, /tls\.key must be set/],
  [
    'a pool whose minimum is above its maximum',
    { flags: { 'defaultPool.minFree': '9', 'defaultPool.maxVolumes': '8' } },
    /minFree \(9\) is above/,
  ],
];
for (const [what, world, pattern] of refused) {
  test(`${what} is refused with key, source and what is accepted`, (t) => {
    t.regex(mistakeOf(world), pattern);
  });
}

test('a controller is named by its URL or by its socket', (t) => {
  const serverOf = (server: string) => load({ flags: { server } }).config.client.server;
  t.is(serverOf('https://controller:8080'), 'https://controller:8080');
  t.is(serverOf('/run/fc-redirect/controller.sock'), '/run/fc-redirect/controller.sock');
  t.is(serverOf('unix:/run/c.sock'), '/run/c.sock');
  t.is(serverOf('unix:///run/c.sock'), '/run/c.sock');
  t.regex(mistakeOf({ flags: { server: 'controller:8080' } }), /http:\/\/ or https:\/\/, or the path of a unix socket/);
});

test('an agent looks for the storage node of its machine in its own data directory, unless told otherwise', (t) => {
  const { host, agent } = load({ flags: { dataDir: '/d' } }).config;
  t.like(host, { exportsDirectory: '/d/exports', volumesDirectory: '/d/volumes' });
  t.deepEqual(agent, { controllerTimeoutMs: 4_000, metricsListen: null });
  const environment = {
    FCR_HOST_EXPORTS_DIRECTORY: '/c/exports',
    FCR_HOST_VOLUMES_DIRECTORY: '/c/volumes',
    FCR_AGENT_CONTROLLER_TIMEOUT: '2s',
    FCR_AGENT_METRICS_LISTEN: '127.0.0.1:9101',
  };
  const stated = load({ environment }).config;
  t.like(stated.host, { exportsDirectory: '/c/exports', volumesDirectory: '/c/volumes' });
  t.deepEqual(stated.agent, { controllerTimeoutMs: 2_000, metricsListen: { host: '127.0.0.1', port: 9101 } });
});

test('the plugin listens on literal loopback addresses and localhost only', (t) => {
  const listen = (address: string) => mistakeOf({ environment: { FCR_DOCKER_LISTEN: address } });
  for (const address of ['127.0.0.1:0', '127.9.9.9:1', '[::1]:0', 'localhost:0']) t.is(listen(address), 'accepted');
  for (const address of ['0.0.0.0:0', '127.0.0.1.example.com:0', '127.evil:0', '[::]:0', 'localhost.example.com:0']) {
    t.regex(listen(address), /loopback only/);
  }
});

test('all mistakes are told at once', (t) => {
  t.is(mistakeOf({ flags: { store: 'x', queue: 'y' }, environment: { FCR_NONE: '1' } }).split('\n').length, 3);
});

test('variables of the test run and of other programs are left alone', (t) => {
  t.is(mistakeOf({ environment: { FCR_TEST_SKIP: 'kernel', PATH: '/bin', FCRX: '1' } }), 'accepted');
});

test('secrets are masked wherever they are shown', (t) => {
  const flags = { postgresUrl: 'postgres://u:hunter2@db/fcr?sslpassword=hunter2', store: 'postgres', token: 'hunter2' };
  const loaded = load({ flags });
  t.false(JSON.stringify(loaded.sources).includes('hunter2'));
  t.deepEqual(loaded.config.store, { kind: 'postgres', url: flags.postgresUrl });
  t.false(mistakeOf({ flags: { postgresUrl: 'hunter2' } }).includes('hunter2'));
});

test('no two settings share a variable or a flag', (t) => {
  t.is(new Set(settingKeys.map(environmentVariableOf)).size, settingKeys.length);
  t.is(new Set(settingKeys.map(flagOf)).size, settingKeys.length);
  t.is(environmentVariableOf('defaultPool.minFree'), 'FCR_DEFAULT_POOL_MIN_FREE');
  t.is(flagOf('tls.clientCa'), '--tls-client-ca');
});

test('every default is acceptable to its own setting', (t) => {
  const { sources } = load({ isRoot: true });
  const flags = Object.fromEntries(sources.filter(({ value }) => value !== '').map(({ key, value }) => [key, value]));
  t.is(mistakeOf({ flags }), 'accepted');
});

test('whatever the file holds, the answer is a configuration or a told mistake', (t) => {
  t.notThrows(() =>
    fc.assert(fc.property(fc.string(), (text) => mistakeOf({ files: { '/f': text }, configFile: '/f' }) !== '')),
  );
});

test('a socket for podman alone is accepted where it keeps something apart, and not where Docker would find it', (t) => {
  const mistake = (removes: string, path: string) =>
    mistakeOf({
      environment: { FCR_DOCKER_REMOVES: removes, FCR_DOCKER_PODMAN_SOCKET: path, FCR_DOCKER_SOCKET: '/a/fc.sock' },
    });
  t.regex(mistake('any', '/a/podman.sock'), /docker\.podmanSocket needs docker\.removes: own/);
  const foundByDocker = ['podman.sock', 'podman/podman.sock', './podman.sock'].flatMap((place) =>
    ['/run', '/var/run'].map((run) => `${run}/docker/plugins/${place}`),
  );
  for (const path of [...foundByDocker, '/a/fc.sock', '/a//fc.sock']) {
    t.regex(mistake('own', path), new RegExp(`docker\\.podmanSocket is ${path}, .* any other directory is accepted`));
  }
  for (const path of ['/run/docker/plugins.d/podman.sock', '/run/podman.sock', '/a/podman.sock']) {
    t.is(mistake('own', path), 'accepted');
  }
});

test('a socket for podman alone is neither one of the program’s own nor that of the engines, by whatever path', (t) => {
  const mistake = (path: string, engines: string) =>
    mistakeOf({
      environment: { FCR_DOCKER_REMOVES: 'own', FCR_DOCKER_PODMAN_SOCKET: path, FCR_DOCKER_SOCKET: engines },
      flags: { socketDirectory: '/run/second' },
    });
  for (const path of ['/run/second/controller.sock', '/var/run/second/agent.sock']) {
    const accepted = 'any path but /run/second/controller\\.sock and /run/second/agent\\.sock is accepted';
    t.regex(mistake(path, 'off'), new RegExp(`docker\\.podmanSocket is ${path}, .*own socket; ${accepted}`));
  }
  t.regex(mistake('/run/a/fc.sock', '/var/run/a/fc.sock'), /where Docker finds it as well/);
  t.regex(mistake('/var/run/a/fc.sock', '/run/a/fc.sock'), /where Docker finds it as well/);
  t.is(mistake('/run/second/podman.sock', 'off'), 'accepted');
});
