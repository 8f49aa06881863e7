import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { Command } from 'commander';
import { type ErrorKind, errorCatalogue } from '../../src/domain/errors.ts';
import { exitCodeOf } from '../../src/frontends/cli/exit-code.ts';
import { detailsOf, tableOf } from '../../src/frontends/cli/output.ts';
import { buildProgram } from '../../src/frontends/cli/run.ts';
import { TestCli } from '../support/cli.ts';
import { type Answered, FakeHttp } from '../support/fake-http.ts';
import { readText } from '../tidy/source-tree.ts';

function commandsOf(command: Command): Command[] {
  return [command, ...command.commands.flatMap(commandsOf)];
}

function problemOf(code: string, status: number): Answered {
  return { status, body: { code, detail: `It is ${code}.`, status } };
}

const pool = {
  name: 'fast',
  id: 'pool_1',
  state: 'active',
  backend: 'file',
  volumeSizeBytes: 1024 ** 3,
  minFree: 4,
  maxVolumes: 10,
  version: 1,
  createdAt: 0,
  status: { free: 4, allocated: 0, wiping: 0, failed: 0, provisioning: 0, hits: 0, misses: 0, blockedReason: null },
};

test('every command has a description, and examples that begin with fcr', async (t) => {
  const cli = new TestCli(t);
  const { program } = buildProgram(cli.world({ out: '', err: '' }));
  const commands = commandsOf(program);
  t.true(commands.length > 40);
  t.deepEqual(
    commands.filter((command) => command.description() === '').map((command) => command.name()),
    [],
  );
  for (const command of commands) {
    const words = pathOf(command);
    const { code, out } = await cli.run(...words, '--help');
    t.is(code, 0, words.join(' '));
    t.regex(out, /Examples:\n {2}\$ .*fcr /, words.join(' '));
  }
});

function pathOf(command: Command): string[] {
  return command.parent === null ? [] : [...pathOf(command.parent), command.name()];
}

test('a table has one line an item, in plain columns', (t) => {
  const columns = [
    { title: 'NAME', of: (item: { name: string | null }) => item.name },
    { title: 'N', of: () => 7 },
  ];
  t.is(tableOf(columns, [{ name: 'long name' }, { name: null }]), 'NAME       N\nlong name  7\n-          7\n');
  t.is(detailsOf(columns, { name: 'a' }), 'NAME:  a\nN:     7\n');
  t.is(tableOf(columns, []), 'NAME  N\n');
});

test('a name cannot send control characters to the terminal', (t) => {
  const columns = [{ title: 'NAME', of: (item: string) => item }];
  t.is(tableOf(columns, ['a\u001b[31mb']), 'NAME\na?[31mb\n');
});

test('docs/ERRORS.md says the exit code of every kind', (t) => {
  const rows = [...readText('docs/ERRORS.md').matchAll(/^\| (\d) \| (.*) \|$/gm)];
  const documented = rows.flatMap(([, code, kinds = '']) =>
    [...kinds.matchAll(/`([a-z-]+)`/g)].map(([, kind]) => `${kind} ${code}`),
  );
  const codes = Object.entries(errorCatalogue);
  const kinds = new Map<ErrorKind, number>();
  for (const [code, { kind }] of codes)
    kinds.set(kind, exitCodeOf({ code: code as keyof typeof errorCatalogue, detail: '' }));
  t.deepEqual(documented.sort(), [...kinds].map(([kind, code]) => `${kind} ${code}`).sort());
});

const mistakes: readonly (readonly string[])[] = [
  ['vol', 'list'],
  ['pool'],
  ['pool', 'create', 'fast'],
  ['pool', 'create', 'fast', '--size', '1XB'],
  ['pool', 'create', 'fast', '--size', '1KiB'],
  ['pool', 'list', '--limit', 'x'],
  ['pool', 'update', 'fast'],
  ['pool', 'wait', 'fast', '--timeout', '5'],
  ['volume', 'list', '--nonsense'],
  ['flow-policy', 'create', '--action', 'maybe'],
  ['flow-policy', 'resolve', '--initiator', '1', '--target', '2'],
  ['standalone', '--listen', 'nowhere'],
  ['operation', 'submit', '--file', '-'],
  ['controller', '--worker-only', '--no-worker'],
  ['adopt'],
];
for (const words of mistakes) {
  test(`fcr ${words.join(' ')} is a mistake of usage: 2, and says why`, async (t) => {
    const cli = new TestCli(t);
    const { code, err } = await cli.run(...words);
    t.is(code, 2);
    t.not(err, '');
    t.deepEqual(cli.started, []);
  });
}

const failures: readonly (readonly [string, number, number])[] = [
  ['token-not-found', 404, 3],
  ['pool-in-use', 409, 4],
  ['forbidden', 403, 5],
  ['out-of-space', 507, 7],
  ['internal', 500, 1],
];
for (const [problem, status, expected] of failures) {
  test(`the controller's ${problem} is exit code ${expected}`, async (t) => {
    const cli = new TestCli(t);
    await cli.controller(t, () => problemOf(problem, status));
    const { code, out, err } = await cli.run('pool', 'delete', 'fast');
    t.is(code, expected);
    t.is(out, '');
    t.is(err, `fcr: It is ${problem}. (${problem})\n`);
  });
}

test('a pool that is not there, or too small, is told with the command that lists them', async (t) => {
  const cli = new TestCli(t);
  await cli.controller(t, ({ method }) => problemOf(method === 'GET' ? 'pool-not-found' : 'no-pool-fits', 404));
  t.regex((await cli.run('pool', 'get', 'nope')).err, /There is no pool "nope"\. fcr pool list shows which/);
  t.regex((await cli.run('volume', 'create', 'a', '--size', '5TiB')).err, /fcr pool list shows the sizes\./);
});

test('with --json a failure is JSON too', async (t) => {
  const cli = new TestCli(t);
  await cli.controller(t, () => problemOf('pool-not-found', 404));
  const { err } = await cli.run('pool', 'update', 'fast', '--min-free', '1', '--json');
  t.deepEqual(JSON.parse(err), { code: 'pool-not-found', detail: 'It is pool-not-found.' });
});

test('no controller is exit code 6, and the socket is named', async (t) => {
  const cli = new TestCli(t);
  const { code, err } = await cli.run('pool', 'list');
  t.is(code, 6);
  t.true(err.includes(join(cli.directory, 'controller.sock')));
});

test('pool create states exactly what was stated', async (t) => {
  const cli = new TestCli(t);
  const fake = await cli.controller(t, () => ({ status: 201, body: pool }));
  const { code, out } = await cli.run(
    'pool',
    'create',
    'fast',
    '--size',
    '1G',
    '--min-free',
    '2',
    '--filesystem',
    'xfs',
  );
  t.is(code, 0);
  t.deepEqual(fake.asked[0]?.body, {
    name: 'fast',
    backend: 'file',
    volumeSizeBytes: 1024 ** 3,
    minFree: 2,
    maxVolumes: 100,
    filesystem: 'xfs',
  });
  t.regex(out, /Volume size: +1GiB\n/);
});

test('a list follows pages up to its limit, and says when there is more', async (t) => {
  const cli = new TestCli(t);
  const page = { items: [pool, pool], nextPageToken: 'next' };
  const fake = await cli.controller(t, () => ({ status: 200, body: page }));
  const { out, err } = await cli.run('pool', 'list', '--limit', '4', '--quiet');
  t.is(out, 'fast\n'.repeat(4));
  t.deepEqual(
    fake.asked.map((asked) => asked.url),
    ['/v1/pools?pageSize=4', '/v1/pools?pageSize=2&pageToken=next'],
  );
  t.regex(err, /more than these 4/);
});

test('filters of a list become its query', async (t) => {
  const cli = new TestCli(t);
  const fake = await cli.controller(t, () => ({ status: 200, body: { items: [], nextPageToken: null } }));
  const { out } = await cli.run('volume', 'ls', '--label', 'a=b', '--state', 'failed', '--json');
  t.is(fake.asked[0]?.url, '/v1/volumes?state=failed&label=a%3Db&pageSize=1000');
  t.is(out, '[]\n');
});

test('what is not there is exit code 3', async (t) => {
  const cli = new TestCli(t);
  await cli.controller(t, () => problemOf('volume-not-found', 404));
  const { code, err } = await cli.run('volume', 'get', 'data');
  t.is(code, 3);
  t.is(err, 'fcr: There is no volume "data". fcr volume list shows which there are. (volume-not-found)\n');
});

test('volume create takes labels and sizes, and sends nothing else', async (t) => {
  const cli = new TestCli(t);
  const fake = await cli.controller(t, () => problemOf('pool-exhausted', 507));
  await cli.run('volume', 'create', 'data', '--size', '16MiB', '--label', 'app=db', '--label', 'x');
  t.deepEqual(fake.asked[0]?.body, { name: 'data', sizeBytes: 16 * 1024 ** 2, labels: { app: 'db', x: '' } });
});

test('pool wait shows progress until the pool is full', async (t) => {
  const cli = new TestCli(t);
  const fake = await cli.controller(t, () => {
    const free = Math.min(fake.asked.length, 3);
    return { status: 200, body: { ...pool, minFree: 3, status: { ...pool.status, free } } };
  });
  const { code } = await cli.run('pool', 'wait', 'fast');
  t.is(code, 0);
  t.deepEqual(cli.progress, [1, 2]);
});

test('pool wait that takes too long is exit code 6, with the reason of the pool', async (t) => {
  const cli = new TestCli(t);
  const status = { ...pool.status, free: 0, blockedReason: 'no space' };
  await cli.controller(t, () => ({ status: 200, body: { ...pool, status } }));
  const { code, err } = await cli.run('pool', 'wait', 'fast', '--timeout', '0s');
  t.is(code, 6);
  t.regex(err, /0 of 4 free volumes; refill is blocked: no space/);
});

test('pool wait refuses at once what no waiting brings about, and says what would', async (t) => {
  const cli = new TestCli(t);
  const more = { ...pool, maxVolumes: 8, state: 'active' };
  const fake = await cli.controller(t, () => ({ status: 200, body: more }));
  const tooMany = await cli.run('pool', 'wait', 'fast', '--free', '50');
  t.is(tooMany.code, 2);
  t.regex(tooMany.err, /never has 50 .* at most 8 .*fcr pool update fast --max-volumes 50 --min-free 50/);
  more.state = 'draining';
  const drained = await cli.run('pool', 'wait', 'fast', '--free', '5');
  t.is(drained.code, 4);
  t.regex(drained.err, /is being drained.*fcr pool drain fast --undo/);
  t.is(fake.asked.length, 2);
});

test('pool wait for more than a pool makes ready by itself says so when it gives up', async (t) => {
  const cli = new TestCli(t);
  await cli.controller(t, () => ({ status: 200, body: pool }));
  const { err } = await cli.run('pool', 'wait', 'fast', '--free', '6', '--timeout', '0s');
  t.regex(err, /4 of 6 free volumes; it makes 4 ready by itself: fcr pool update fast --min-free 6/);
});

test('qos-policy update keeps what was not stated, under the version that it read', async (t) => {
  const cli = new TestCli(t);
  const limits = {
    maxIopsPerContainer: 500,
    maxBandwidthPerContainer: 1024,
    maxTotalBandwidth: null,
    weight: 100,
    allowBursting: true,
    burstIops: 1000,
  };
  const policy = { id: 'q', name: 'gold', enforced: false, version: 7, createdAt: 0, ...limits };
  const fake = await cli.controller(t, () => ({ status: 200, body: policy }));
  const { code } = await cli.run('qos-policy', 'update', 'gold', '--max-iops', '800', '--max-bandwidth', 'none');
  t.is(code, 0);
  t.like(fake.asked[1], { method: 'PUT', url: '/v1/qos-policies/gold' });
  t.is(fake.asked[1]?.headers['if-match'], '"7"');
  t.deepEqual(fake.asked[1]?.body, {
    ...limits,
    maxIopsPerContainer: 800,
    maxBandwidthPerContainer: null,
    burstIops: null,
  });
});

test('an operation that failed decides the exit code of its batch, which is shown all the same', async (t) => {
  const cli = new TestCli(t);
  cli.input = '{"operations": []}';
  const base = { batch: 'b', type: 'volume.create', existing: false, requestedBy: 'ann', acceptedAt: 0, endedAt: 0 };
  const problem = { code: 'name-taken', detail: 'Taken.', status: 409 };
  const operations = [
    { ...base, id: 'b-0', state: 'succeeded', resource: { kind: 'volume', id: 'vol_1' } },
    { ...base, id: 'b-1', state: 'failed', problem },
  ];
  const fake = await cli.controller(t, () => ({ status: 200, body: { id: 'b', state: 'ended', operations } }));
  const { code, out } = await cli.run('operation', 'submit', '--file', '-', '--idempotency-key', 'k');
  t.is(code, 4);
  t.regex(out, /b-0 +volume\.create +succeeded +vol_1/);
  t.is(fake.asked[0]?.headers['idempotency-key'], 'k');
});

test("this machine's own server is shown the stated token, else the admin token of the data directory", async (t) => {
  const cli = new TestCli(t);
  const fake = await FakeHttp.onPort(() => ({ status: 200, body: { items: [], nextPageToken: null } }));
  t.teardown(() => fake.close());
  writeFileSync(join(cli.directory, 'admin.token'), 'from-file\n');
  cli.environment.FCR_SERVER = fake.url;
  cli.environment.FCR_LISTEN = new URL(fake.url).host;
  await cli.run('pool', 'list');
  await cli.run('pool', 'list', '--token', 'stated');
  t.deepEqual(
    fake.asked.map((asked) => asked.headers.authorization),
    ['Bearer from-file', 'Bearer stated'],
  );
});

test('another server never sees the admin token of the data directory', async (t) => {
  const cli = new TestCli(t);
  const fake = await FakeHttp.onPort(() => ({ status: 200, body: { items: [], nextPageToken: null } }));
  t.teardown(() => fake.close());
  writeFileSync(join(cli.directory, 'admin.token'), 'from-file\n');
  cli.environment.FCR_SERVER = fake.url;
  await cli.run('pool', 'list');
  t.deepEqual(
    fake.asked.map((asked) => asked.headers.authorization),
    [undefined],
  );
});

test('a file that cannot be read is named', async (t) => {
  const cli = new TestCli(t);
  const { code, err } = await cli.run('operation', 'submit', '--file', '/no/such/file');
  t.is(code, 2);
  t.regex(err, /\/no\/such\/file cannot be read/);
});

test('the socket of this machine needs no token', async (t) => {
  const cli = new TestCli(t);
  const fake = await cli.controller(t, () => ({ status: 200, body: { items: [], nextPageToken: null } }));
  writeFileSync(join(cli.directory, 'admin.token'), 'from-file\n');
  await cli.run('pool', 'list');
  t.is(fake.asked[0]?.headers.authorization, undefined);
});

test('standalone runs with the settings of its command line', async (t) => {
  const cli = new TestCli(t);
  const { code } = await cli.run(
    'standalone',
    '--listen',
    '127.0.0.1:0',
    '--host-mode',
    'simulated',
    '--metrics',
    'off',
  );
  t.is(code, 0);
  const config = cli.started[0]?.config;
  t.like(config, { listen: { port: 0 }, host: { mode: 'simulated' }, metrics: false, dataDir: cli.directory });
});

test('a controller runs with the parts that were asked for', async (t) => {
  const cli = new TestCli(t);
  await cli.run('controller');
  await cli.run('controller', '--no-worker');
  await cli.run('controller', '--worker-only');
  t.deepEqual(
    cli.started.map(({ parts }) => parts),
    [
      { api: true, worker: true },
      { api: true, worker: false },
      { api: false, worker: true },
    ],
  );
});

test('an agent runs for the controller that was named, and its help shows how', async (t) => {
  const cli = new TestCli(t);
  await cli.run(
    'agent',
    '--server',
    'https://controller:8080',
    '--token-file',
    '/etc/fc-redirect/token',
    '--host-name',
    'n1',
  );
  t.is(cli.started[0]?.service, 'agent');
  t.like(cli.started[0]?.config, {
    host: { name: 'n1' },
    client: { server: 'https://controller:8080', token: null, tokenFile: '/etc/fc-redirect/token' },
  });
  const { out } = await cli.run('agent', '--help');
  t.regex(out, /fcr agent --server https/);
});

test('the status of the agent says what keeps it from mounting', async (t) => {
  const cli = new TestCli(t);
  const problem = { code: 'host-conflict', detail: 'Host "n1" is another machine.' };
  const ports = [{ wwpn: '20:00:02:00:00:00:00:01', fabric: 'local', state: 'offline', synthesized: true }];
  const status = {
    host: 'n1',
    ports,
    capabilities: { simulated: false, reasons: [] },
    controller: { reachable: false, lastAnswerAt: null, problem: 'connect ECONNREFUSED' },
    registration: { registered: false, problem },
    lastReconcile: { at: 0, problem: 'It is another machine.' },
    mounts: { mounted: 2, attaching: 0 },
  };
  const fake = await cli.agent(t, () => ({ status: 200, body: status }));
  const { code, out } = await cli.run('agent', 'status');
  t.is(code, 0);
  t.is(fake.asked[0]?.url, '/v1/status');
  for (const line of [/offline/, /away: connect ECONNREFUSED/, /refused: .*\(host-conflict\)/, /Mounts: +2 mounted/]) {
    t.regex(out, line);
  }
});

test('a token comes from a file as well, and a file without one is told', async (t) => {
  const cli = new TestCli(t);
  const fake = await FakeHttp.onPort(() => ({ status: 200, body: { items: [], nextPageToken: null } }));
  t.teardown(() => fake.close());
  const path = join(cli.directory, 'token');
  writeFileSync(path, 'fcr_secret\n');
  await cli.run('pool', 'list', '--server', fake.url, '--token-file', path);
  t.is(fake.asked[0]?.headers.authorization, 'Bearer fcr_secret');
  writeFileSync(path, '\n');
  t.regex((await cli.run('pool', 'list', '--server', fake.url, '--token-file', path)).err, /token file .* is empty/);
});

test('adopt happens on an explicit word only', async (t) => {
  const cli = new TestCli(t);
  t.is((await cli.run('adopt', '--yes')).out, 'storage node bound\n');
  t.is(cli.started.length, 1);
});

test('config print shows each value with its source, and no secret', async (t) => {
  const cli = new TestCli(t);
  cli.environment.FCR_TOKEN = 'hunter2';
  const { out } = await cli.run('config', 'print', '--log-level', 'debug');
  t.regex(out, /^log\.level +debug +flag --log-level$/m);
  t.regex(out, /^token +\*+ +environment FCR_TOKEN$/m);
  t.false(out.includes('hunter2'));
});

test('the version is that of the package', async (t) => {
  t.deepEqual(await new TestCli(t).run('--version'), { code: 0, out: '1.2.3\n', err: '' });
});

test('a host that is heard of is not lost, whoever says so', async (t) => {
  const cli = new TestCli(t);
  const attachments = { items: [{ id: 'att_1', epoch: 1, volume: 'data' }], nextPageToken: null };
  const host = { name: 'node9', state: 'online', lastSeenAt: Date.UTC(2026, 0, 1) };
  const fake = await cli.controller(t, ({ url }) => ({
    status: 200,
    body: url.startsWith('/v1/hosts/') ? host : attachments,
  }));
  const { code, err } = await cli.run('host', 'lost', 'node9', '--yes');
  t.is(code, 4);
  t.regex(err, /"node9" is online: it was last heard of at 2026-01-01.*host\.silence/s);
  t.false(fake.asked.some(({ method }) => method === 'DELETE'));
});
