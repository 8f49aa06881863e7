/** What people do with `docker volume` and `docker run`, by a real dockerd against the real product. */

import { DockerWorld } from '../support/docker-world.ts';
import { testOf } from '../support/groups.ts';

const test = testOf('clients').serial;
const deadlineMs = 150_000;

test('a volume is created, inspected, written, read by the next container, and removed', async (t) => {
  t.timeout(deadlineMs);
  const world = await DockerWorld.start(t);
  const { engine } = world;
  t.is(await world.create('data', 'size=32MiB', 'label.app=db'), 'data');
  const [volume] = JSON.parse(await engine.docker('volume', 'inspect', 'data'));
  t.is(volume.Driver, world.plugin);
  t.like(volume.Status, { pool: 'default', state: 'allocated', qos: null, device: null });
  t.regex(volume.Status.wwid, /^naa\.6/);
  t.is(await engine.run('data', 'ls -A /data; echo hello > /data/greeting'), '');
  t.is(await engine.run('data', 'cat /data/greeting'), 'hello');
  t.like(await world.machine.controller.volumeGet('data'), { labels: { app: 'db' } });
  await world.comesToRest(t);
  await engine.docker('volume', 'rm', 'data');
  t.is(await world.machine.controller.volumeGet('data'), null);
});
