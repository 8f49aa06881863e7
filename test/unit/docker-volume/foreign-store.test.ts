/** HAZARDS 2, for engines: what a store says that this host does not follow is neither believed nor acted on. */
import test, { type ExecutionContext } from 'ava';
import { Failure } from '../../../src/domain/errors.ts';
import { PluginWorld } from '../../support/plugin-world.ts';

const data = { Name: 'data' };

/** A volume with one user, and then an empty store in the place of the one that knew it; how to put that one back. */
async function withEmptyStore(t: ExecutionContext): Promise<{ world: PluginWorld; putBack: () => Promise<void> }> {
  const world = await PluginWorld.start(t);
  await world.call('VolumeDriver.Create', { ...data, Opts: null });
  await world.call('VolumeDriver.Mount', { ...data, ID: 'one' });
  await world.agent.reconcile();
  const { controller } = world.agents;
  const { attachments, volumes, storeId } = controller;
  const kept = { attachments: [...attachments], volumes: [...volumes] };
  controller.emptyStore();
  await world.agent.reconcile();
  t.regex(world.agent.status().store.problem ?? '', /follows store/);
  const putBack = async () => {
    controller.storeId = storeId;
    for (const each of kept.attachments) attachments.set(...each);
    for (const each of kept.volumes) volumes.set(...each);
    await world.agent.reconcile();
  };
  return { world, putBack };
}

test('HAZARDS 2: what is mounted here is there for engines, whatever an empty store says', async (t) => {
  const { world } = await withEmptyStore(t);
  t.like((await world.call('VolumeDriver.Get', data)).body, { Volume: data, Err: '' });
  t.like((await world.call('VolumeDriver.List')).body, { Volumes: [data], Err: '' });
  t.is((await world.call('VolumeDriver.Mount', { ...data, ID: 'two' })).status, 200);
  t.deepEqual(world.references('data'), ['one', 'two']);
});

test('HAZARDS 2: with an empty store nothing is made, removed or said to be absent', async (t) => {
  const { world } = await withEmptyStore(t);
  const request = `{"Name":"other"}`;
  const head = ['POST /VolumeDriver.Get HTTP/1.1', 'Host: ', `Content-Length: ${request.length}`, 'Connection: close'];
  t.regex(await world.exchange(`${head.join('\r\n')}\r\n\r\n${request}`), /^FC-Redirect:This_host_follows_store/);
  for (const method of ['VolumeDriver.Create', 'VolumeDriver.Mount']) {
    const answer = await world.call(method, { Name: 'other', ID: 'one', Opts: null });
    t.is(answer.status, 500, method);
    t.regex(String(answer.body.Err), /follows store .* fcr adopt/, method);
  }
  world.agents.passTime(60_000);
  const removed = await world.call('VolumeDriver.Remove', data);
  t.regex(String(removed.body.Err), /follows store/);
  t.deepEqual([world.references('data'), world.agents.host.mounts.length], [['one'], 1]);
  t.is(world.agents.controller.volumes.size, 0);
});

test('HAZARDS 2: the last container stops under an empty store: the mount ends once the right one is back', async (t) => {
  const { world, putBack } = await withEmptyStore(t);
  t.is((await world.call('VolumeDriver.Unmount', { ...data, ID: 'one' })).status, 200);
  t.is(world.agents.host.mounts.length, 1);
  await putBack();
  t.deepEqual([world.agents.host.mounts, world.agents.host.devices, world.agent.mounts()], [[], [], []]);
});

test('HAZARDS 2: an empty store that does not know this host either is told as another one', async (t) => {
  const { world } = await withEmptyStore(t);
  const { controller } = world.agents;
  const begin = controller.inventoryBegin.bind(controller);
  const registered = controller.announcements.length;
  controller.inventoryBegin = () => {
    if (controller.announcements.length > registered) return begin();
    return Promise.reject(new Failure('host-not-found', 'There is no such host.'));
  };
  const answer = await world.call('VolumeDriver.Create', { Name: 'other', Opts: null });
  t.regex(String(answer.body.Err), /follows store .* fcr adopt/);
  t.is(controller.announcements.length, registered + 1);
});
