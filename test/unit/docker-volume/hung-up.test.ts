/** An engine that does not wait for its answer: what it asked for is nobody's then. */
import net from 'node:net';
import test from 'ava';
import { until } from '../../support/daemon.ts';
import { PluginWorld } from '../../support/plugin-world.ts';

const body = JSON.stringify({ Name: 'data', ID: 'one' });
const mountRequest = `POST /VolumeDriver.Mount HTTP/1.1\r\nHost: \r\nContent-Length: ${body.length}\r\n\r\n${body}`;

/** A mount is asked for, whose attachment waits until it is let; `hangUp` waits for it no longer. */
async function slowWorld(t: Parameters<typeof PluginWorld.start>[0]) {
  const world = await PluginWorld.start(t);
  await world.call('VolumeDriver.Create', { Name: 'data', Opts: null });
  const { controller } = world.agents;
  const create = controller.attachmentCreate.bind(controller);
  const waiting = Promise.withResolvers<void>();
  let asked = false;
  controller.attachmentCreate = async (request) => {
    asked = true;
    await waiting.promise;
    return await create(request);
  };
  const connection = net.connect(world.socketPath);
  connection.write(mountRequest);
  await until(() => asked, { what: 'the attachment is asked for' });
  const hangUp = async () => {
    const closed = new Promise((resolve) => connection.once('close', resolve));
    connection.destroy();
    await closed;
  };
  return { world, hangUp, goOn: waiting.resolve };
}

test('a mount that nobody waits for any more is taken back', async (t) => {
  const { world, hangUp, goOn } = await slowWorld(t);
  await hangUp();
  goOn();
  await until(() => world.ended.some(({ method }) => method === 'VolumeDriver.Mount'), { what: 'the call has ended' });
  t.deepEqual([world.agent.mounts(), world.agents.host.mounts, world.agents.host.devices], [[], [], []]);
});

test('a mount that the engine has asked for again meanwhile stays', async (t) => {
  const { world, hangUp, goOn } = await slowWorld(t);
  const again = world.call('VolumeDriver.Mount', { Name: 'data', ID: 'one' });
  await hangUp();
  goOn();
  t.is((await again).status, 200);
  await until(() => world.ended.filter(({ method }) => method === 'VolumeDriver.Mount').length === 2, {
    what: 'both calls have ended',
  });
  t.deepEqual(world.references('data'), ['one']);
});
