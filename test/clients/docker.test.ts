/** What people do with `docker volume` and `docker run`, by a real dockerd against the real product. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../support/daemon.ts';
import { image, installBusybox } from '../support/docker-engine.ts';
import { claimedFrom, DockerWorld } from '../support/docker-world.ts';
import { testOf } from '../support/groups.ts';
import { projectRoot } from '../tidy/source-tree.ts';

const test = testOf('clients').serial;
const deadlineMs = 150_000;

test('a volume is created, inspected, written, read by the next container, and removed', async (t) => {
  t.timeout(deadlineMs);
  const world = await DockerWorld.start(t);
  const { engine } = world;
  t.is(await world.create('data', 'size=32MiB', 'label.app=db'), 'data');
  const [volume] = JSON.parse(await engine.docker('volume', 'inspect', 'data'));
  t.like(volume, { Driver: world.plugin, Scope: 'local', Mountpoint: '' });
  t.like(volume.Status, { pool: 'default', state: 'allocated', qos: null, device: null, sizeBytes: 64 * 1024 ** 2 });
  t.regex(volume.Status.wwid, /^naa\.6/);
  t.is(await engine.run('data', 'ls -A /data; echo hello > /data/greeting'), '');
  t.is(await engine.run('data', 'cat /data/greeting'), 'hello');
  t.like(await world.machine.controller.volumeGet('data'), { labels: { app: 'db' } });
  t.regex(await engine.docker('volume', 'ls'), new RegExp(`${world.plugin} +data`));
  await world.comesToRest(t);
  await engine.docker('volume', 'rm', 'data');
  t.is(await world.machine.controller.volumeGet('data'), null);
});

test('containers share a volume, it is shown where it is, and nobody removes it from under them', async (t) => {
  t.timeout(deadlineMs);
  const world = await DockerWorld.start(t);
  const { engine } = world;
  await world.create('data');
  const script = 'touch /data/$NAME; sleep 600';
  for (const name of ['one', 'two']) {
    await engine.docker(
      ...['run', '-d', '--init=false', '--name', name, '-e', `NAME=${name}`, '-v', 'data:/data'].concat(
        image,
        'sh',
        '-c',
        script,
      ),
    );
  }
  t.is(await engine.docker('exec', 'one', 'ls', '/data'), 'one\ntwo');
  const [volume] = JSON.parse(await engine.docker('volume', 'inspect', 'data'));
  t.regex(volume.Status.device, /^\/dev\/loop\d+$/);
  t.is(volume.Status.paths.length, 1);
  t.is(volume.Status.references.length, 2);
  t.true(volume.Mountpoint.startsWith(world.machine.directory));
  await t.throwsAsync(engine.docker('volume', 'rm', 'data'), { message: /volume is in use/ });

  await engine.docker('rm', '-f', 'one');
  t.is(await engine.docker('exec', 'two', 'ls', '/data'), 'one\ntwo');
  await engine.docker('restart', '-t', '0', 'two');
  t.is(await engine.docker('exec', 'two', 'ls', '/data'), 'one\ntwo');
  await engine.docker('rm', '-f', 'two');
  await world.comesToRest(t);
  await engine.docker('volume', 'rm', 'data');
});

test('options reach the volume, and a wrong one is told to whoever typed it', async (t) => {
  t.timeout(deadlineMs);
  const world = await DockerWorld.start(t);
  const { engine } = world;
  const { controller } = world.machine;
  await controller.poolCreate({
    ...{ name: 'xfs', backend: 'file', filesystem: 'xfs', volumeSizeBytes: 320 * 1024 ** 2, minFree: 0, maxVolumes: 1 },
  });
  await controller.qosPolicyCreate({ name: 'gold', maxIopsPerContainer: 1_000 });
  await world.create('data', 'fs=xfs', 'size=300MB', 'qos=gold', 'labels=app=db,tier=one');
  const labels = { app: 'db', tier: 'one' };
  t.like(await controller.volumeGet('data'), { pool: 'xfs', filesystem: 'xfs', qosPolicy: 'gold', labels });
  t.is(await engine.run('data', 'echo on xfs > /data/file; cat /data/file'), 'on xfs');
  for (const [option, message] of [
    ['sise=1G', /option "sise" \(value "1G"\) is unknown; did you mean size\? Options: size, pool, qos/],
    ['size=much', /option "size": "much" is refused; accepted: a size such as 10GiB/],
    ['from=data', /option "from": "data" is refused; accepted: nothing yet/],
    [
      'pool=nowhere',
      /There is no pool "nowhere"\. Pools: default \(ext4, up to 64MiB, \d+ free\), xfs \(xfs, .*fcr pool create <name> --size/,
    ],
    ['qos=none', /There is no QoS policy "none"\. Name one of fcr qos-policy list, leave the option qos out/],
  ] as const) {
    await t.throwsAsync(world.create('other', option), { message });
  }
  for (const [options, message] of [
    [['pool=default', 'size=1GiB'], /larger than the volumes of pool "default" .* Pools: default .*fcr pool create/],
    [['fs=xfs', 'pool=default'], /option "fs": "xfs" is refused; accepted: ext4, which pool "default" has/],
    [['fs=xfs', 'size=1GiB'], /No active pool has xfs and volumes of 1GiB\. Pools: default .*fcr pool create/],
    [['pool=xfs'], /No volume is left in pool "xfs": .* Pools: .*fcr pool update <name> --max-volumes <count>/],
  ] as const) {
    await t.throwsAsync(world.create('other', ...options), { message });
  }
  t.is(await controller.volumeGet('other'), null);
  await world.create('huge', 'fs=ext4', 'size=1GiB');
  t.like(await controller.volumeGet('huge'), { pool: null, filesystem: 'ext4', sizeBytes: 1024 ** 3 });
  await engine.docker('volume', 'rm', 'data', 'huge');
});

test('who has a volume elsewhere is told with what ends that, and once it is said to be lost the volume is free', async (t) => {
  t.timeout(deadlineMs);
  const world = await DockerWorld.start(t, { settings: { HOST_SILENCE: '1s', RECONCILE_HOSTS: '1s' } });
  const { engine } = world;
  await world.create('data');
  const attachment = await claimedFrom('node9', world.machine.controller, 'data');
  const message = new RegExp(`attached to host "node9".*fcr attachment delete ${attachment} .*fcr host lost node9`);
  await t.throwsAsync(engine.run('data', 'true'), { message });
  await t.throwsAsync(engine.docker('volume', 'rm', 'data'), { message });
  const isOffline = async () => (await world.machine.controller.hostGet('node9'))?.state === 'offline';
  await until(isOffline, { what: 'the host is offline' });
  const fcr = [join(projectRoot, 'fcr'), ['--socket-directory', world.machine.directory]] as const;
  await engine.command(fcr[0], [...fcr[1], 'host', 'lost', 'node9', '--yes']);
  t.is(await engine.run('data', 'echo mine > /data/file; cat /data/file'), 'mine');
});

test('a container that is not root writes, and files of an image are copied to where they were', async (t) => {
  t.timeout(deadlineMs);
  const world = await DockerWorld.start(t);
  const { engine } = world;
  await world.create('owned', 'uid=1234', 'gid=4321', 'mode=0750');
  t.is(await engine.run('owned', 'stat -c "%u %g %a" /data; ls -A /data'), '1234 4321 750');
  t.is(await engine.run('owned', 'id -u > /data/who; cat /data/who', '-u', '1234:4321'), '1234');
  await t.throwsAsync(engine.run('owned', 'cat /data/who', '-u', '99:99'), { message: /Permission denied/ });

  await engine.importImage('fc/seeded:1', (root) => {
    installBusybox(root);
    mkdirSync(join(root, 'seeded'));
    writeFileSync(join(root, 'seeded/file'), 'of the image\n');
  });
  await world.create('fresh');
  const cat = ['sh', '-c', 'cat /seeded/file; echo changed > /seeded/file'];
  t.is(await engine.docker('run', '--rm', '-v', 'fresh:/seeded', 'fc/seeded:1', ...cat), 'of the image');
  t.is(await engine.docker('run', '--rm', '-v', 'fresh:/seeded', 'fc/seeded:1', ...cat), 'changed');

  await world.create('fixed', 'readonly=true');
  await t.throwsAsync(engine.run('fixed', 'touch /data/file'), { message: /Read-only file system/ });
  await world.comesToRest(t);
});
