import http from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { Agent } from '../../../src/agent/agent.ts';
import { engineController } from '../../../src/frontends/docker-volume/controller.ts';
import { VolumeDriver } from '../../../src/frontends/docker-volume/volume-driver.ts';
import { ControllerClient } from '../../../src/http/client.ts';
import { FakeHttp } from '../../support/fake-http.ts';
import { PluginWorld } from '../../support/plugin-world.ts';

const answerMs = 200;

/** It takes requests and never answers. */
async function hungController(t: ExecutionContext, agent: Agent) {
  const silent = http.createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  t.teardown(() => {
    silent.close();
    silent.closeAllConnections();
  });
  return connected(t, url, agent);
}

function connected(t: ExecutionContext, url: string, agent: Agent) {
  const client = new ControllerClient({ endpoint: { url }, deadlineMs: answerMs });
  t.teardown(() => client.close());
  return engineController({ client, answerMs, agent });
}

test('with a controller that hangs, engines see what is mounted here, and are told of the rest that it is away', async (t) => {
  const world = await PluginWorld.start(t);
  await world.call('VolumeDriver.Create', { Name: 'data', Opts: null });
  await world.call('VolumeDriver.Mount', { Name: 'data', ID: 'one' });
  const driver = new VolumeDriver({
    agent: world.agent,
    controller: await hungController(t, world.agent),
    scope: 'global',
  });
  t.like(await driver.list(), [{ Name: 'data' }]);
  t.like(await driver.get('data'), { Name: 'data', Mountpoint: await driver.path('data') });
  const away = { code: 'controller-unavailable', message: /did not answer within 200 ms/ };
  await t.throwsAsync(driver.get('other'), away);
  await t.throwsAsync(driver.create('other', { fs: 'ext4' }), away);
  await t.throwsAsync(driver.create('other', null), away);
  await t.throwsAsync(driver.remove('other'), away);
});

test('a change is asked to be answered within an exchange, and is followed until it has ended', async (t) => {
  const world = await PluginWorld.start(t);
  const accepted = { id: 'bat_1-0', state: 'running' };
  const ends = [
    { ...accepted, state: 'succeeded', resource: { name: 'data' } },
    { ...accepted, state: 'failed', problem: { code: 'volume-in-use', detail: 'It is attached.', status: 409 } },
  ];
  const controller = await FakeHttp.onPort(({ method }) => {
    if (method !== 'GET') return { status: 202, body: accepted };
    const isAskedAgain = controller.asked.at(-2)?.method === 'GET';
    return { status: 200, body: isAskedAgain ? ends.shift() : accepted };
  });
  t.teardown(() => controller.close());
  const driver = new VolumeDriver({
    agent: world.agent,
    controller: connected(t, controller.url, world.agent),
    scope: 'global',
  });
  await driver.create('data', null);
  await t.throwsAsync(driver.remove('data'), { code: 'volume-in-use' });
  const changes = controller.asked.filter(({ method }) => method !== 'GET');
  t.deepEqual(
    changes.map(({ method, headers }) => [method, headers.prefer]),
    [
      ['POST', 'wait=1'],
      ['DELETE', 'wait=1'],
    ],
  );
});
