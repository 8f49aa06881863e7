/** A dockerd that finds the plugin over TCP, by the file that says where it is. */
import { existsSync, rmSync } from 'node:fs';
import { freePort } from '../support/controlled-machine.ts';
import { DockerEngine } from '../support/docker-engine.ts';
import { ownPlugin, untilNothingIsLeft } from '../support/docker-world.ts';
import { testOf } from '../support/groups.ts';
import { StandaloneMachine } from '../support/standalone-machine.ts';

const test = testOf('clients').serial;

test('dockerd finds the plugin by its spec file, uses it, and goes on with it after a kill', async (t) => {
  t.timeout(150_000);
  const { plugin } = ownPlugin(t);
  const spec = `/etc/docker/plugins/${plugin}.spec`;
  t.teardown(() => rmSync(spec, { force: true }));
  // dockerd reads the file once: the port has to be the same after a restart.
  const settings = { DOCKER_LISTEN: `127.0.0.1:${await freePort()}`, DOCKER_SPEC: spec };
  const machine = await StandaloneMachine.start(t, settings);
  const engine = await DockerEngine.start(t, { network: 'machine' });
  t.is(await engine.docker('volume', 'create', '-d', plugin, 'data'), 'data');
  t.is(await engine.run('data', 'echo hello > /data/file; cat /data/file'), 'hello');
  await machine.kill();
  t.true(existsSync(spec));
  await machine.start();
  t.is(await engine.run('data', 'cat /data/file'), 'hello');
  t.is(JSON.parse(await engine.docker('volume', 'inspect', 'data'))[0].Driver, plugin);
  await untilNothingIsLeft(t, machine);
  await engine.docker('volume', 'rm', 'data');
  t.deepEqual((await machine.controller.volumeList({ state: 'allocated' })).items, []);
});
