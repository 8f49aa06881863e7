/** Which volumes engines remove, by the setting docker.removes. */
import test from 'ava';
import type { DockerConfig } from '../../../src/config/config.ts';
import { limits } from '../../../src/config/limits.ts';
import type { Entrance } from '../../../src/frontends/docker-volume/options.ts';
import { CallsUnderWay, VolumeDriver } from '../../../src/frontends/docker-volume/volume-driver.ts';
import { PluginWorld } from '../../support/plugin-world.ts';

function driverOf(
  { agent, volumes: controller }: PluginWorld,
  removes: DockerConfig['removes'],
  entrance: Entrance = 'engines',
): VolumeDriver {
  return new VolumeDriver({ agent, controller, scope: 'local', removes, entrance });
}

test('where engines remove their own alone, what a person made stays, and it is said how it goes', async (t) => {
  const world = await PluginWorld.start(t);
  const driver = driverOf(world, 'own');
  await driver.create('own', { uid: '70' });
  await world.volumes.volumeCreate({ name: 'persons' });
  await driver.create('persons', null);
  await driver.mount('persons', 'one');
  await t.throwsAsync(driver.remove('persons'), {
    code: 'not-supported',
    message: /docker\.removes.*"persons" was not made so: fcr volume delete persons removes it/,
  });
  t.deepEqual(world.references('persons'), ['one']);
  await driver.remove('own');
  await driver.remove('absent');
  t.deepEqual(
    [...world.agents.controller.volumes.values()].map(({ name }) => name),
    ['persons'],
  );
});

test('podman at a socket of its own and the other engines remove what each has made, and mount what the other has', async (t) => {
  const world = await PluginWorld.start(t);
  const [docker, podman] = [driverOf(world, 'own'), driverOf(world, 'own', 'podman')];
  for (const [maker, other, name] of [
    [docker, podman, 'dockers'],
    [podman, docker, 'podmans'],
  ] as const) {
    await maker.create(name, null);
    await other.mount(name, 'one');
    await other.unmount(name, 'one');
    await other.create(name, null);
    await t.throwsAsync(other.remove(name), {
      code: 'not-supported',
      message: new RegExp(`"${name}" was not made so`),
    });
    await maker.remove(name);
  }
  t.is(world.agents.controller.volumes.size, 0);
});

test('a removal of what was created again meanwhile, through the other socket, is not the one before it', async (t) => {
  const { agent, volumes: controller } = await PluginWorld.start(t);
  const parts = { agent, controller, scope: 'local', removes: 'own', underWay: new CallsUnderWay() } as const;
  const docker = new VolumeDriver(parts);
  const podman = new VolumeDriver({ ...parts, entrance: 'podman' });
  const deleted = Promise.withResolvers<void>();
  const answered = Promise.withResolvers<void>();
  const volumeDelete = controller.volumeDelete.bind(controller);
  controller.volumeDelete = async (id) => {
    await volumeDelete(id);
    deleted.resolve();
    await answered.promise;
  };
  await docker.create('data', null);
  const removal = docker.remove('data');
  await deleted.promise;
  await podman.create('data', null);
  const repeat = t.throwsAsync(docker.remove('data'), { code: 'not-supported', message: /"data" was not made so/ });
  answered.resolve();
  await Promise.all([removal, repeat]);
  await podman.remove('data');
});

test('one socket is not told that the removal of the other is its own', async (t) => {
  const { agent, volumes: controller } = await PluginWorld.start(t);
  const parts = { agent, controller, scope: 'local', removes: 'own', underWay: new CallsUnderWay() } as const;
  const docker = new VolumeDriver(parts);
  const podman = new VolumeDriver({ ...parts, entrance: 'podman' });
  await docker.create('data', null);
  const removals = [docker.remove('data'), podman.remove('data')] as const;
  await t.throwsAsync(removals[1], { code: 'not-supported' });
  await removals[0];
});

test('creating again answers what is there, however it was made; other options are refused', async (t) => {
  const world = await PluginWorld.start(t);
  const drivers = [driverOf(world, 'any'), driverOf(world, 'own'), driverOf(world, 'own', 'podman')] as const;
  for (const made of drivers) {
    await made.create('data', { uid: '70' });
    for (const asked of drivers) {
      for (const options of [null, { uid: '70' }]) await t.notThrowsAsync(asked.create('data', options));
      await t.throwsAsync(asked.create('data', { uid: '71' }), { code: 'name-taken' });
    }
    t.is(world.agents.controller.volumes.size, 1);
    await drivers[0].remove('data');
  }
});

test('a token that may delete nothing leaves all users of a volume on record, whether they are alive or not', async (t) => {
  const world = await PluginWorld.start(t);
  await world.call('VolumeDriver.Create', { Name: 'data', Opts: null });
  await world.call('VolumeDriver.Mount', { Name: 'data', ID: 'one' });
  world.agents.passTime(limits.engineStartMs + 1);
  const before = world.agents.state(world.agent);
  world.volumes.keeps = true;
  for (const removes of ['any', 'own'] as const) {
    const expected = removes === 'any' ? 'forbidden' : 'not-supported';
    await t.throwsAsync(driverOf(world, removes).remove('data'), { code: expected });
  }
  t.deepEqual([world.agents.state(world.agent), world.references('data')], [before, ['one']]);
  const { body } = await world.call('VolumeDriver.Remove', { Name: 'data' });
  t.regex(String(body.Err), /needs the role admin or operator; the token has host.*docker\.tokenFile/);
  world.volumes.keeps = false;
  t.is((await world.call('VolumeDriver.Remove', { Name: 'data' })).status, 200);
  t.deepEqual([world.agents.host.mounts, world.agents.controller.volumes.size], [[], 0]);
});
