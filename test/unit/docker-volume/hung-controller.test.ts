import http from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { engineController } from '../../../src/frontends/docker-volume/controller.ts';
import { VolumeDriver } from '../../../src/frontends/docker-volume/volume-driver.ts';
import { ControllerClient } from '../../../src/http/client.ts';
import { PluginWorld } from '../../support/plugin-world.ts';

const answerMs = 200;

/** It takes requests and never answers; a call whose deadline is not `answerMs` would outlast the test. */
async function hungController(t: ExecutionContext) {
  const silent = http.createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const client = (deadlineMs: number) => new ControllerClient({ endpoint: { url }, deadlineMs });
  const [changes, lookups] = [client(600_000), client(answerMs)];
  t.teardown(() => {
    changes.close();
    lookups.close();
    silent.close();
    silent.closeAllConnections();
  });
  return engineController({ changes, lookups, answerMs });
}

test('with a controller that hangs, engines see what is mounted here, and are told of the rest that it is away', async (t) => {
  const world = await PluginWorld.start(t);
  await world.call('VolumeDriver.Create', { Name: 'data', Opts: null });
  await world.call('VolumeDriver.Mount', { Name: 'data', ID: 'one' });
  const driver = new VolumeDriver({ agent: world.agent, controller: await hungController(t), scope: 'global' });
  t.like(await driver.list(), [{ Name: 'data' }]);
  t.like(await driver.get('data'), { Name: 'data', Mountpoint: await driver.path('data') });
  const away = { code: 'controller-unavailable', message: /did not answer within 200 ms/ };
  await t.throwsAsync(driver.get('other'), away);
  await t.throwsAsync(driver.create('other', { fs: 'ext4' }), away);
});
