import test from 'ava';
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
  const { labels = {} } = parseOptions({ uid: '0070', gid: '7', mode: '750', readonly: 'true' });
  t.deepEqual(labels, {
    'fc-redirect/gid': '7',
    'fc-redirect/mode': '0750',
    'fc-redirect/readonly': 'true',
    'fc-redirect/uid': '70',
  });
  t.deepEqual(mannerOf(labels), { readOnly: true, uid: 70, gid: 7, mode: 0o750 });
  t.deepEqual(mannerOf({ app: 'db' }), { readOnly: false });
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

test('a filesystem is had from the smallest pool that has it and is large enough', async (t) => {
  const world = await PluginWorld.start(t);
  const create = async (Name: string, Opts: object) => (await world.call('VolumeDriver.Create', { Name, Opts })).body;
  world.volumes.addPool('default', 'ext4', 64 * mebibyte);
  world.volumes.addPool('large-xfs', 'xfs', 1024 * mebibyte);
  world.volumes.addPool('xfs', 'xfs', 320 * mebibyte);
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
  t.regex(
    String((await create('d', { fs: 'xfs', pool: 'default' })).Err),
    /"fs": "xfs" is refused; accepted: what a pool has: ext4 \(pool default, up to 64MiB\), .*xfs \(pool xfs, up to 320MiB\)/,
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
