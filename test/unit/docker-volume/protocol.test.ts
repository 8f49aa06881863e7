/** What dockerd, podman and dvdcli (Mesos' DVDI) send, in the order and form in which they send it. */
import test from 'ava';
import { limits } from '../../../src/config/limits.ts';
import { errorCatalogue, Failure } from '../../../src/domain/errors.ts';
import { calls } from '../../../src/frontends/docker-volume/calls.ts';
import { errorText, mediaType } from '../../../src/frontends/docker-volume/protocol.ts';
import { type Client, PluginWorld } from '../../support/plugin-world.ts';

const id = (digit: string) => digit.repeat(64);
const anonymous = 'f67'.padEnd(64, 'c');

/** Method, body, status, and what the answer holds; `$path` stands for the mount point. */
type Line = readonly [string, object | string, number, object];
const ok = { Err: '' };

interface Recording {
  readonly client: Client;
  readonly what: string;
  readonly lines: readonly Line[];
}

const recordings: readonly Recording[] = [
  {
    client: 'dockerd',
    what: 'volume create, run, volume rm',
    lines: [
      ['Plugin.Activate', '', 200, { Implements: ['VolumeDriver'] }],
      ['VolumeDriver.Capabilities', {}, 200, { Capabilities: { Scope: 'local' } }],
      ['VolumeDriver.Get', { Name: 'data' }, 500, { Err: 'no such volume: data' }],
      ['VolumeDriver.Create', { Name: 'data', Opts: { size: '20m' } }, 200, ok],
      ['VolumeDriver.Get', { Name: 'data' }, 200, { Volume: { Name: 'data', Mountpoint: '' } }],
      ['VolumeDriver.Get', { Name: 'data' }, 200, { Volume: { Name: 'data', Mountpoint: '' } }],
      ['VolumeDriver.Mount', { Name: 'data', ID: id('a') }, 200, { Mountpoint: '$path', Err: '' }],
      ['VolumeDriver.Get', { Name: 'data' }, 200, { Volume: { Name: 'data', Mountpoint: '$path' } }],
      ['VolumeDriver.Unmount', { Name: 'data', ID: id('a') }, 200, ok],
      ['VolumeDriver.Get', { Name: 'data' }, 200, { Volume: { Name: 'data', Mountpoint: '' } }],
      ['VolumeDriver.Remove', { Name: 'data' }, 200, ok],
      ['VolumeDriver.Get', { Name: 'data' }, 500, { Err: 'no such volume: data' }],
      ['VolumeDriver.List', {}, 200, { Volumes: [], Err: '' }],
    ],
  },
  {
    client: 'dockerd',
    what: 'an anonymous volume of run --rm, options null',
    lines: [
      ['VolumeDriver.Get', { Name: anonymous }, 500, { Err: `no such volume: ${anonymous}` }],
      ['VolumeDriver.Create', { Name: anonymous, Opts: null }, 200, ok],
      ['VolumeDriver.Mount', { Name: anonymous, ID: id('b') }, 200, ok],
      ['VolumeDriver.Unmount', { Name: anonymous, ID: id('b') }, 200, ok],
      ['VolumeDriver.Remove', { Name: anonymous }, 200, ok],
    ],
  },
  {
    client: 'podman',
    what: 'volume create, run twice with one ID for ever, volume reload',
    lines: [
      ['Plugin.Activate', '', 200, { Implements: ['VolumeDriver'] }],
      ['VolumeDriver.Get', '{"Name":"pvol"}', 500, { Err: 'no such volume: pvol' }],
      ['VolumeDriver.Create', '{"Name":"pvol","Opts":{"size":"20m"}}', 200, ok],
      ['VolumeDriver.Mount', `{"Name":"pvol","ID":"${id('2')}"}`, 200, { Mountpoint: '$path' }],
      ['VolumeDriver.Unmount', `{"Name":"pvol","ID":"${id('2')}"}`, 200, ok],
      ['VolumeDriver.Mount', `{"Name":"pvol","ID":"${id('2')}"}`, 200, { Mountpoint: '$path' }],
      ['VolumeDriver.Mount', `{"Name":"pvol","ID":"${id('2')}"}`, 200, { Mountpoint: '$path' }],
      ['VolumeDriver.Unmount', `{"Name":"pvol","ID":"${id('2')}"}`, 200, ok],
      ['VolumeDriver.Unmount', `{"Name":"pvol","ID":"${id('2')}"}`, 200, ok],
      ['VolumeDriver.List', '', 200, { Volumes: [{ Name: 'pvol', Mountpoint: '' }] }],
      ['VolumeDriver.Remove', '{"Name":"pvol"}', 200, ok],
      ['VolumeDriver.Remove', '{"Name":"pvol"}', 200, ok],
    ],
  },
  {
    client: 'dvdcli-0.1',
    what: 'mount with options, path, mount, unmount twice, path, remove: creates before everything, and has no ID',
    lines: [
      ['Plugin.Activate', '', 200, { Implements: ['VolumeDriver'] }],
      ['VolumeDriver.Create', { Name: 'mesos', Opts: { size: '20m', uid: '7' } }, 200, ok],
      ['VolumeDriver.Mount', { Name: 'mesos' }, 200, { Mountpoint: '$path', Err: '' }],
      ['VolumeDriver.Create', { Name: 'mesos', Opts: null }, 200, ok],
      ['VolumeDriver.Path', { Name: 'mesos' }, 200, { Mountpoint: '$path', Err: '' }],
      ['VolumeDriver.Create', { Name: 'mesos', Opts: {} }, 200, ok],
      ['VolumeDriver.Mount', { Name: 'mesos' }, 200, { Mountpoint: '$path', Err: '' }],
      ['VolumeDriver.Create', { Name: 'mesos', Opts: null }, 200, ok],
      ['VolumeDriver.Unmount', { Name: 'mesos' }, 200, ok],
      ['VolumeDriver.Create', { Name: 'mesos', Opts: null }, 200, ok],
      ['VolumeDriver.Unmount', { Name: 'mesos' }, 200, ok],
      ['VolumeDriver.Create', '{"Name":"mesos"}', 200, ok],
      ['VolumeDriver.Path', { Name: 'mesos' }, 200, { Mountpoint: '', Err: '' }],
      ['VolumeDriver.Remove', { Name: 'mesos' }, 200, ok],
    ],
  },
  {
    client: 'dvdcli-0.2',
    what: 'the same and list, get: looks first, creates only what cannot be looked up, and has no ID',
    lines: [
      ['Plugin.Activate', '', 200, { Implements: ['VolumeDriver'] }],
      ['VolumeDriver.Get', { Name: 'mesos' }, 500, { Err: 'no such volume: mesos' }],
      ['VolumeDriver.Create', { Name: 'mesos', Opts: { size: '20m', uid: '7' } }, 200, ok],
      ['VolumeDriver.Mount', { Name: 'mesos' }, 200, { Mountpoint: '$path', Err: '' }],
      ['VolumeDriver.Get', { Name: 'mesos' }, 200, { Volume: { Name: 'mesos', Mountpoint: '$path' } }],
      ['VolumeDriver.Mount', { Name: 'mesos' }, 200, { Mountpoint: '$path', Err: '' }],
      ['VolumeDriver.List', {}, 200, { Volumes: [{ Name: 'mesos', Mountpoint: '$path' }], Err: '' }],
      ['VolumeDriver.Get', { Name: 'mesos' }, 200, { Volume: { Name: 'mesos', Mountpoint: '$path' } }],
      ['VolumeDriver.Unmount', { Name: 'mesos' }, 200, ok],
      ['VolumeDriver.Get', { Name: 'mesos' }, 200, { Volume: { Name: 'mesos', Mountpoint: '' } }],
      ['VolumeDriver.Unmount', { Name: 'mesos' }, 200, ok],
      ['VolumeDriver.Get', { Name: 'mesos' }, 200, { Volume: { Name: 'mesos', Mountpoint: '' } }],
      ['VolumeDriver.Path', { Name: 'mesos' }, 200, { Mountpoint: '', Err: '' }],
      ['VolumeDriver.Get', { Name: 'mesos' }, 200, { Volume: { Name: 'mesos', Mountpoint: '' } }],
      ['VolumeDriver.Remove', { Name: 'mesos' }, 200, ok],
      ['VolumeDriver.Get', { Name: 'mesos' }, 500, { Err: 'no such volume: mesos' }],
    ],
  },
];

function withPath(expected: object, path: string): object {
  return JSON.parse(JSON.stringify(expected).replaceAll('"$path"', JSON.stringify(path)));
}

for (const { client, what, lines } of recordings) {
  test(`${client}: ${what}`, async (t) => {
    const world = await PluginWorld.start(t);
    for (const [method, body, status, expected] of lines) {
      const answer = await world.call(method, body, client);
      const [volume] = world.agents.controller.volumes.values();
      t.like(answer, { status, contentType: mediaType }, `${method} ${JSON.stringify(answer.body)}`);
      t.like(answer.body, withPath(expected, world.agents.path(volume?.id ?? '')), method);
    }
    t.deepEqual([world.agents.host.mounts, world.agents.violations, world.agents.host.violations], [[], [], []]);
  });
}

test('headers do not matter: no Host, a Content-Type that is none', async (t) => {
  const world = await PluginWorld.start(t);
  t.is((await world.call('VolumeDriver.Create', { Name: 'data' }, 'strange')).status, 200);
  t.like(await world.call('VolumeDriver.Get', { Name: 'data' }, 'strange'), { status: 200 });
});

test('what cannot be read is an error that says what is accepted', async (t) => {
  const world = await PluginWorld.start(t);
  for (const body of ['{', '[]', '"data"', '{"Name":7}', '{"Name":"a","Opts":[]}', '{"Name":"a","ID":{}}']) {
    const answer = await world.call('VolumeDriver.Create', body);
    t.is(answer.status, 500, body);
    t.regex(String(answer.body.Err), /JSON object|is accepted/);
  }
  const { status, body } = await world.call('VolumeDriver.Create', `{"Name":"${'x'.repeat(300_000)}"}`);
  t.is(status, 500);
  t.regex(String(body.Err), /At most 262144 bytes/);
});

test('other methods and paths are told as such', async (t) => {
  const world = await PluginWorld.start(t);
  t.like(await world.call('VolumeDriver.Snapshot', {}), { status: 404 });
  t.like(await world.call('toString', {}), { status: 404 });
  t.regex(
    await world.exchange('GET /Plugin.Activate HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
    /^HTTP\/1.1 404 /,
  );
});

test('a name that nobody can have is an unknown volume, and is not created', async (t) => {
  const world = await PluginWorld.start(t);
  const [volume] = ['vol_01JD0000000000000000000000'];
  t.like((await world.call('VolumeDriver.Get', { Name: volume })).body, { Err: `no such volume: ${volume}` });
  for (const Name of ['../etc', volume]) {
    const { status, body } = await world.call('VolumeDriver.Create', { Name });
    t.is(status, 500);
    t.regex(String(body.Err), /Name: .* is not a name/);
  }
});

test('calls are counted by method and outcome, and failures are logged', async (t) => {
  const world = await PluginWorld.start(t);
  await world.call('VolumeDriver.Create', { Name: 'data', Opts: null });
  await world.call('VolumeDriver.Get', { Name: 'other' });
  await world.call('VolumeDriver.Create', { Name: 'other', Opts: { size: 'much' } });
  t.deepEqual(world.ended, [
    { method: 'VolumeDriver.Create', outcome: 'succeeded' },
    { method: 'VolumeDriver.Get', outcome: 'not-found' },
    { method: 'VolumeDriver.Create', outcome: 'invalid' },
  ]);
  t.is(world.logged.length, 1);
  t.like(world.logged[0], { method: 'VolumeDriver.Create', volume: 'other', code: 'invalid-request' });
});

test('a look-up that fails is logged once with its cause, however often an engine repeats it; success is not', async (t) => {
  const world = await PluginWorld.start(t);
  const lookup = (body: string) =>
    world.exchange(`POST /VolumeDriver.Get HTTP/1.1\r\nHost: \r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  await world.call('VolumeDriver.Create', { Name: 'data', Opts: null });
  for (const method of ['Get', 'Path', 'Mount', 'Unmount'])
    await world.call(`VolumeDriver.${method}`, { Name: 'data' });
  await world.call('VolumeDriver.List', {});
  t.deepEqual([world.logged, world.whispered], [[], []]);
  await world.call('VolumeDriver.Get', { Name: 'absent' });
  t.deepEqual([world.logged.length, world.whispered.length], [0, 1]);
  world.agents.controller.away = true;
  await lookup('{"Name":"data"}');
  for (let repeat = 0; repeat < 4; repeat += 1) {
    t.regex(await lookup(''), /^FC-Redirect:The_exchange_broke_off_.*_The_last_one_met:_connection_refused_/);
  }
  t.is(world.logged.length, 1);
  const cause = { code: 'controller-unavailable', detail: 'connection refused' };
  t.like(world.logged[0], { method: 'VolumeDriver.Get', volume: 'data', ...cause });
  t.is(world.whispered.length, 5);
});

test('a repeat is told what all look-ups have met lately: it may be of any of them, of whatever engine', async (t) => {
  const world = await PluginWorld.start(t);
  const { controller } = world.agents;
  const lookup = (body: string) =>
    world.exchange(`POST /VolumeDriver.Get HTTP/1.1\r\nHost: \r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  await world.call('VolumeDriver.Create', { Name: 'data', Opts: null });
  const meets = async (why: string, name: string) => {
    controller.volumeGet = () => Promise.reject(new Failure('controller-unavailable', why));
    await lookup(`{"Name":"${name}"}`);
  };
  await meets('First reason.', 'data');
  await meets('Second reason.', 'other');
  t.regex(await lookup(''), /_The_last_one_met:_Second_reason\._Others_lately:_First_reason\._/);
  await meets('First reason.', 'data');
  t.regex(await lookup(''), /_The_last_one_met:_First_reason\._Others_lately:_Second_reason\._/);
  for (const why of ['Third.', 'Fourth.']) await meets(why, 'data');
  t.regex(await lookup(''), /_met:_Fourth\._Others_lately:_Third\._First_reason\._What/);
  world.agents.passTime(limits.dockerRepeatsMs + 1);
  t.regex(await lookup(''), /_The_agent_was_restarted,_or_its_log_says_why\._/);
});

test('over TCP neither a web page nor a request for another host is answered; engines are', async (t) => {
  const world = await PluginWorld.start(t);
  const status = async (...lines: readonly string[]) => {
    const head = ['POST /Plugin.Activate HTTP/1.1', ...lines, 'Content-Length: 0', 'Connection: close'];
    return Number((await world.exchangeOverTcp(`${head.join('\r\n')}\r\n\r\n`)).split(' ')[1]);
  };
  for (const host of [[], ['Host: '], [`Host: 127.0.0.1:${world.port}`], ['Host: [::1]:7777'], ['Host: localhost']]) {
    t.is(await status(...host), 200, host[0]);
  }
  t.is(await status('Host: localhost', 'Sec-Fetch-Mode: cors'), 200);
  const strangers = [
    'Host: example.com',
    'Host: 127.0.0.1.example.com:7777',
    'Host: [::2]',
    'Host: a b',
    'Host: 0.0.0.0',
  ];
  for (const host of strangers) t.is(await status(host), 403, host);
  t.is(await status('Host: localhost', 'Origin: null'), 403);
  t.is(await status('Host: localhost', 'Sec-Fetch-Site: cross-site'), 403);
});

test('every problem of the catalogue has words for an engine', (t) => {
  for (const code of Object.keys(errorCatalogue) as (keyof typeof errorCatalogue)[]) {
    t.regex(errorText({ code, detail: 'It is so.' }), /It is so\./);
  }
  t.is(Object.keys(calls).length, 9);
});

test('an engine whose plugin has a token of role host is told which setting makes volumes possible', (t) => {
  const told = errorText({ code: 'forbidden', detail: 'Role host may not POST /v1/volumes.' });
  t.regex(told, /POST \/v1\/volumes.*role operator: docker\.tokenFile \(FCR_DOCKER_TOKEN_FILE\)/);
});
