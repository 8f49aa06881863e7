import test, { type ExecutionContext } from 'ava';
import { Failure } from '../../../src/domain/errors.ts';
import { mannerOf, optionNames, parseOptions } from '../../../src/frontends/docker-volume/options.ts';
import { PluginWorld } from '../../support/plugin-world.ts';

const mebibyte = 1024 ** 2;

for (const [size, bytes] of [
  ['1GB', 1_000_000_000],
  ['10GiB', 10 * 1024 ** 3],
  ['32m', 32 * mebibyte],
  ['10m', 16 * mebibyte],
  ['1', 16 * mebibyte],
] as const) {
  test(`size ${size} asks for at least ${bytes} bytes`, (t) => {
    t.deepEqual(parseOptions({ size }), { sizeBytes: bytes });
  });
}

test('null, absent and empty options ask for nothing in particular', (t) => {
  t.deepEqual([parseOptions(null), parseOptions({})], [{}, {}]);
});

test('what later mounts need is kept in labels, in one form', (t) => {
  const { labels = {} } = parseOptions({ uid: '0070', gid: '7', mode: '750', readonly: 'false' });
  t.deepEqual(labels, {
    'fc-redirect/gid': '7',
    'fc-redirect/mode': '0750',
    'fc-redirect/readonly': 'false',
    'fc-redirect/uid': '70',
  });
  t.deepEqual(mannerOf(labels), { readOnly: false, uid: 70, gid: 7, mode: 0o750 });
  t.true(mannerOf(parseOptions({ readonly: 'true' }).labels ?? {}).readOnly);
  t.deepEqual(mannerOf({ app: 'db' }), { readOnly: false });
});

test('what contradicts itself is refused: an owner of what is only read, a label with two values', (t) => {
  const owner = { message: /option "readonly": "true" is refused; accepted: false together with gid/ };
  t.throws(() => parseOptions({ gid: '7', readonly: 'true' }), owner);
  const twice = {
    message: /option "labels": "app=web" is refused; accepted: each label once \("app" is stated twice\)/,
  };
  t.throws(() => parseOptions({ 'label.app': 'db', labels: 'app=web' }), twice);
  t.deepEqual(parseOptions({ 'label.app': 'db', labels: 'app=db' }).labels, { app: 'db' });
});

test('labels of a user, one by one or together', (t) => {
  const { labels } = parseOptions({ 'label.app': 'db', labels: 'tier=gold, owner=me=you' });
  t.deepEqual(labels, { app: 'db', owner: 'me=you', tier: 'gold' });
});

for (const [option, value] of [
  ['size', 'much'],
  ['size', '0'],
  ['pool', '../x'],
  ['qos', ''],
  ['fs', 'btrfs'],
  ['uid', '-1'],
  ['gid', '4294967295'],
  ['mode', '999'],
  ['readonly', 'perhaps'],
  ['from', 'other'],
  ['labels', 'novalue'],
  ['labels', 'fc-redirect/uid=0'],
  ['label.fc-redirect/uid', '0'],
  ['label.', 'x'],
] as const) {
  test(`option ${option}=${value} is refused, and it is said what is accepted`, (t) => {
    const error = t.throws(() => parseOptions({ [option]: value }), { instanceOf: Failure });
    t.true(error.message.startsWith(`option "${option}": "${value}" is refused; accepted: `), error.message);
    for (const name of optionNames) t.true(error.message.includes(name));
  });
}

test('an option that does not exist is named with its value and a guess', (t) => {
  const error = t.throws(() => parseOptions({ sise: '1G' }), { instanceOf: Failure });
  t.regex(error.message, /^option "sise" \(value "1G"\) is unknown; did you mean size\? Options: size, pool, /);
  t.throws(() => parseOptions({ toString: 'x' }), { message: /"toString" .* is unknown/ });
});

test('a label that somebody else set wrongly is refused at the mount', (t) => {
  t.throws(() => mannerOf({ 'fc-redirect/uid': 'root' }), { message: /label "fc-redirect\/uid": "root" is refused/ });
});

async function withPools(t: ExecutionContext) {
  const world = await PluginWorld.start(t);
  world.volumes.addPool('default', 'ext4', 64 * mebibyte);
  world.volumes.addPool('large-xfs', 'xfs', 1024 * mebibyte);
  world.volumes.addPool('xfs', 'xfs', 320 * mebibyte);
  const create = async (Name: string, Opts: object) => (await world.call('VolumeDriver.Create', { Name, Opts })).body;
  return { world, create };
}

const pools =
  'Pools: default (ext4, up to 64MiB, 1 free), large-xfs (xfs, up to 1GiB, 1 free), xfs (xfs, up to 320MiB, 1 free).';

test('a filesystem is had from the smallest pool that has it and is large enough', async (t) => {
  const { world, create } = await withPools(t);
  t.deepEqual(await create('a', { fs: 'xfs' }), { Err: '' });
  t.deepEqual(await create('b', { fs: 'xfs', size: '512m' }), { Err: '' });
  t.deepEqual(await create('c', { fs: 'ext4', pool: 'default' }), { Err: '' });
  t.deepEqual(
    world.volumes.created.map(({ name, pool }) => [name, pool]),
    [
      ['a', 'xfs'],
      ['b', 'large-xfs'],
      ['c', 'default'],
    ],
  );
  t.deepEqual(await create('a', { fs: 'xfs' }), { Err: '' });
  t.regex(String((await create('a', { fs: 'ext4' })).Err), /exists already, with xfs/);
});

test('a volume that is larger than every pool is made for itself where its filesystem is what such volumes have', async (t) => {
  const { world, create } = await withPools(t);
  t.deepEqual(await create('huge', { fs: 'ext4', size: '2GiB' }), { Err: '' });
  t.deepEqual(world.volumes.created, [{ name: 'huge', sizeBytes: 2048 * mebibyte }]);
  t.regex(
    String((await create('other', { fs: 'xfs', size: '2GiB' })).Err),
    /^No active pool has xfs and volumes of 2GiB\./,
  );
});

test('a pool with nothing left is passed over for the next one with the filesystem', async (t) => {
  const { world, create } = await withPools(t);
  world.volumes.exhausted.add('xfs');
  t.deepEqual(await create('a', { fs: 'xfs' }), { Err: '' });
  t.deepEqual(world.volumes.created, [{ name: 'a', pool: 'large-xfs' }]);
  world.volumes.exhausted.add('large-xfs');
  const remedy = 'A pool gets more volumes by fcr pool update <name> --max-volumes <count>.';
  const nothingLeft = pools.replaceAll(/(xfs, up to \w+), 1 free/g, '$1, 0 free');
  t.is((await create('b', { fs: 'xfs' })).Err, `No volume is left in pool "large-xfs". ${nothingLeft} ${remedy}`);
});

test('a volume that is being wiped is waited for, where its pool has nothing else', async (t) => {
  const { world, create } = await withPools(t);
  for (const name of ['xfs', 'large-xfs']) world.volumes.exhausted.add(name);
  world.volumes.wiping.add('large-xfs');
  t.deepEqual(await create('a', { fs: 'xfs' }), { Err: '' });
  t.deepEqual(world.volumes.created, [{ name: 'a', pool: 'large-xfs' }]);
  t.regex(String((await create('b', { pool: 'xfs' })).Err), /^No volume is left in pool "xfs"\./);
});

for (const [options, cause, remedy] of [
  [{ fs: 'xfs', pool: 'none' }, 'There is no pool "none".', 'or make it: fcr pool create <name> --size <size>.'],
  [{ pool: 'none' }, 'There is no pool "none".', 'or make it: fcr pool create <name> --size <size>.'],
  [{ pool: 'xfs', size: '1GiB' }, '1073741824 is more than "xfs" has.', 'of the options pool, fs and size.'],
  [{ fs: 'xfs', pool: 'xfs', size: '1GiB' }, '1073741824 is more than "xfs" has.', 'options pool, fs and size.'],
  [{ fs: 'ext4', size: '1GiB' }, 'No active pool has ext4 and volumes of 1GiB.', 'options pool, fs and size.'],
  [
    { fs: 'xfs', pool: 'default' },
    'option "fs": "xfs" is refused; accepted: ext4, which pool "default" has, or another pool.',
    'Options: size, pool, qos, fs, uid, gid, mode, readonly, from, labels, label.<key>.',
  ],
] as const) {
  test(`creating with ${JSON.stringify(options)} names the cause, the pools and the remedy`, async (t) => {
    const { world, create } = await withPools(t);
    const { Err } = await create('data', options);
    t.true(String(Err).startsWith(`${cause} ${pools} `), String(Err));
    t.true(String(Err).endsWith(remedy), String(Err));
    t.deepEqual(world.volumes.created, []);
  });
}

test('where there is no pool with the filesystem it is said how to make one', async (t) => {
  const world = await PluginWorld.start(t);
  const { body } = await world.call('VolumeDriver.Create', { Name: 'data', Opts: { fs: 'xfs' } });
  t.regex(
    String(body.Err),
    /^No active pool has xfs\. There is no active pool\. Make .* \(fcr pool create <name> --size <size> --filesystem <type>\)/,
  );
});

test('creating again with equal or no options answers the volume that is there, with others it does not', async (t) => {
  const world = await PluginWorld.start(t);
  const create = async (Opts: object | null) => (await world.call('VolumeDriver.Create', { Name: 'data', Opts })).body;
  t.deepEqual(await create({ uid: '7' }), { Err: '' });
  t.deepEqual(await create({ uid: '7' }), { Err: '' });
  t.deepEqual(await create(null), { Err: '' });
  t.regex(String((await create({ uid: '8' })).Err), /exists already/);
  t.is(world.volumes.created.length, 1);
});

test('a size above the largest is refused with the largest', async (t) => {
  t.throws(() => parseOptions({ size: '9PB' }), { message: /"size": "9PB" is refused; accepted: .*at most 64TiB/ });
});
