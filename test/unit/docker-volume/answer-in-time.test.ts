/** What takes longer than an engine waits: the answer comes before that, the work goes on, and nobody does it twice. */
import test, { type ExecutionContext } from 'ava';
import { Failure } from '../../../src/domain/errors.ts';
import { dockerdsPatience } from '../../../src/frontends/docker-volume/answer-in-time.ts';
import type { PluginMethod } from '../../../src/frontends/docker-volume/calls.ts';
import { VolumeDriver } from '../../../src/frontends/docker-volume/volume-driver.ts';
import { until } from '../../support/daemon.ts';
import { PluginWorld } from '../../support/plugin-world.ts';

const dockerdsShortMs = 60_000;
const dockerdsLongMs = 120_000;
const user = { Name: 'data', ID: 'one' };

/** A world with a volume in use, whose calls of the method are answered at once as going on. */
async function impatientWorld(t: ExecutionContext, hurried: PluginMethod) {
  const answerMs = (method: PluginMethod) => (method === hurried ? 1 : dockerdsShortMs);
  const world = await PluginWorld.start(t, { answerMs });
  await world.call('VolumeDriver.Create', { Name: 'data', Opts: null });
  return world;
}

/** The call waits until it is let; how often it was made. */
function held<A extends readonly unknown[], T>(begin: (...given: A) => Promise<T>) {
  const waiting = Promise.withResolvers<void>();
  let calls = 0;
  const call = async (...given: A) => {
    calls += 1;
    await waiting.promise;
    return await begin(...given);
  };
  return { call, goOn: waiting.resolve, fail: waiting.reject, calls: () => calls };
}

function heldDeletion({ volumes }: PluginWorld) {
  const deletion = held(volumes.volumeDelete.bind(volumes));
  volumes.volumeDelete = deletion.call;
  return deletion;
}

/** A driver whose unmounts wait, and by whom they were asked for. */
function busyDriver(world: PluginWorld) {
  const asked: string[] = [];
  const unmount = held(async (_volume: string, reference: string) => void reference);
  const agent = {
    mounts: () => world.agent.mounts(),
    mount: world.agent.mount.bind(world.agent),
    endUnused: world.agent.endUnused.bind(world.agent),
    unmountReference: (volume: string, reference: string) => {
      asked.push(reference);
      return unmount.call(volume, reference);
    },
  };
  return { driver: new VolumeDriver({ agent, controller: world.volumes, scope: 'local' }), asked, ...unmount };
}

test('every call is answered before dockerd gives it up', (t) => {
  for (const method of ['Remove', 'Unmount', 'Path', 'Get', 'List', 'Capabilities'] as const) {
    t.true(dockerdsPatience(`VolumeDriver.${method}`) < dockerdsShortMs, method);
  }
  for (const method of ['Create', 'Mount'] as const) {
    t.true(dockerdsPatience(`VolumeDriver.${method}`) < dockerdsLongMs, method);
  }
});

test('an unmount that takes too long is told as going on, does so, and its repeat finds it done', async (t) => {
  const world = await impatientWorld(t, 'VolumeDriver.Unmount');
  await world.call('VolumeDriver.Mount', user);
  const flush = held(world.agents.host.unmount.bind(world.agents.host));
  world.agents.host.unmount = flush.call;
  for (const _repeat of [1, 2]) {
    const { status, body } = await world.call('VolumeDriver.Unmount', user);
    t.is(status, 500);
    t.regex(String(body.Err), /^Volume "data" is still being unmounted, .*goes on by itself.* the same command again/);
  }
  await until(() => flush.calls() === 1, { what: 'the host is asked for it' });
  flush.goOn();
  await until(() => world.agents.controller.attachments.size === 0, { what: 'it is unmounted' });
  t.deepEqual([world.agents.host.mounts, world.agents.host.devices, world.agent.mounts()], [[], [], []]);
  t.like(world.ended.at(-1), { method: 'VolumeDriver.Unmount', outcome: 'unavailable' });
  t.is(flush.calls(), 1);
});

test('a removal that takes too long is told as going on, and does so', async (t) => {
  const world = await impatientWorld(t, 'VolumeDriver.Remove');
  const deletion = heldDeletion(world);
  for (const _repeat of [1, 2]) {
    const { body } = await world.call('VolumeDriver.Remove', { Name: 'data' });
    t.regex(String(body.Err), /^Volume "data" is still being removed, .*goes on by itself/);
  }
  await until(() => deletion.calls() === 1, { what: 'the deletion is asked for' });
  deletion.goOn();
  await until(() => world.agents.controller.volumes.size === 0, { what: 'it is removed' });
  t.is(deletion.calls(), 1);
});

test('what fails after it was answered as going on is to be read in the log', async (t) => {
  const world = await impatientWorld(t, 'VolumeDriver.Remove');
  const deletion = heldDeletion(world);
  await world.call('VolumeDriver.Remove', { Name: 'data' });
  await until(() => deletion.calls() === 1, { what: 'the deletion is asked for' });
  deletion.fail(new Failure('storage-failed', 'The storage node could not.'));
  const failed = () => world.logged.find((fields) => 'code' in fields && fields.code === 'storage-failed');
  await until(() => failed() !== undefined, { what: 'the failure is logged' });
  t.like(failed(), { method: 'VolumeDriver.Remove', volume: 'data', detail: 'The storage node could not.' });
});

test('a mount that takes too long is told so, and is given back once it is done', async (t) => {
  const world = await impatientWorld(t, 'VolumeDriver.Mount');
  const { controller, host } = world.agents;
  const attach = held(controller.attachmentCreate.bind(controller));
  controller.attachmentCreate = attach.call;
  const { body } = await world.call('VolumeDriver.Mount', user);
  t.regex(String(body.Err), /^Volume "data" is still being mounted, .* given back when that is done, unless/);
  await until(() => attach.calls() === 1, { what: 'the attachment is asked for' });
  attach.goOn();
  const isGivenBack = () => controller.attachments.size === 0 && world.agent.mounts().length === 0;
  await until(isGivenBack, { what: 'it is given back' });
  t.deepEqual([host.mounts, host.devices], [[], []]);
});

test('a look-up that takes too long is no answer, which engines do not take for absence', async (t) => {
  const world = await impatientWorld(t, 'VolumeDriver.Get');
  const { controller } = world.agents;
  const lookup = held(controller.volumeGet.bind(controller));
  controller.volumeGet = lookup.call;
  const body = '{"Name":"data"}';
  const answer = await world.exchange(
    `POST /VolumeDriver.Get HTTP/1.1\r\nHost: \r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  t.regex(answer, /^FC-Redirect:Volume_"data"_could_not_be_looked_up,_because_the_controller_did_not_answer,_after/);
  lookup.goOn();
});

test('what is mounted here is told from here where the controller is silent, so that dockerd goes on to unmount it', async (t) => {
  const world = await impatientWorld(t, 'Plugin.Activate');
  await world.call('VolumeDriver.Mount', user);
  const { agent, volumes } = world;
  const silence = new Promise<never>(() => undefined);
  const silent = { volumeGet: () => silence, volumeList: () => silence, volumeCreate: () => silence };
  const controller = Object.assign(Object.create(volumes), silent);
  const driver = new VolumeDriver({ agent, controller, scope: 'global', lookupMs: 1 });
  t.like(await driver.get('data'), { Name: 'data', Mountpoint: world.agents.path('vol_data') });
  t.like(await driver.list(), [{ Name: 'data' }]);
  await t.notThrowsAsync(driver.create('data', null));
});

test('the same call at the same time is the same work, whatever becomes of it; another user is not', async (t) => {
  const { driver, asked, fail } = busyDriver(await PluginWorld.start(t));
  const failures = ['one', 'one', 'two'].map((reference) =>
    t.throwsAsync(driver.unmount('data', reference), { code: 'device-busy' }),
  );
  t.deepEqual(asked, ['one', 'two']);
  fail(new Failure('device-busy', 'It is held.'));
  await Promise.all(failures);
  await t.throwsAsync(driver.unmount('data', 'one'), { code: 'device-busy' });
  t.deepEqual(asked, ['one', 'two', 'one']);
});

test('an unmount of what was mounted again meanwhile is not the one before it', async (t) => {
  const world = await PluginWorld.start(t);
  const { driver, asked, goOn } = busyDriver(world);
  await driver.create('data', null);
  const unmounts = [driver.unmount('data', 'one')];
  await driver.mount('data', 'one');
  unmounts.push(driver.unmount('data', 'one'));
  t.deepEqual(asked, ['one', 'one']);
  goOn();
  await Promise.all(unmounts);
});

test('a removal of what was created again meanwhile is not the one before it', async (t) => {
  const world = await PluginWorld.start(t);
  const driver = new VolumeDriver({ agent: world.agent, controller: world.volumes, scope: 'local' });
  const deletion = heldDeletion(world);
  const removals = [driver.remove('data')];
  await driver.create('data', null);
  removals.push(driver.remove('data'));
  await until(() => deletion.calls() === 2, { what: 'both are asked for' });
  deletion.goOn();
  await t.notThrowsAsync(() => Promise.all(removals));
});
