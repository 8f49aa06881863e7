/** The same plugin under podman, which names each volume by one ID for ever and takes a 200 for success. */

import { ControlledMachine } from '../support/controlled-machine.ts';
import { until } from '../support/daemon.ts';
import { image } from '../support/docker-engine.ts';
import { claimedFrom, ownPlugin, untilNothingIsLeft } from '../support/docker-world.ts';
import { testOf } from '../support/groups.ts';
import { loopsBelow, mountsBelow } from '../support/linux-host-harness.ts';
import { PodmanEngine } from '../support/podman-engine.ts';
import { StandaloneMachine } from '../support/standalone-machine.ts';

const test = testOf('clients').serial;

test('podman creates, uses, shares, restarts and removes volumes, and is told what went wrong', async (t) => {
  t.timeout(150_000);
  const { socketPath } = ownPlugin(t);
  const machine = await StandaloneMachine.start(t, { DOCKER_SOCKET: socketPath });
  const engine = await PodmanEngine.start(t, socketPath);
  const create = (name: string, option: string) =>
    engine.podman('volume', 'create', '--driver', 'fc', '-o', option, name);
  t.is(await create('data', 'uid=1234'), 'data');
  t.is(await engine.run('data', 'stat -c %u /data; echo hello > /data/greeting', '--user', '1234'), '1234');
  t.is(await engine.run('data', 'cat /data/greeting'), 'hello');
  await untilNothingIsLeft(t, machine);

  await engine.podman(
    ...['run', '-d', '--network', 'none', '--name', 'user', '-v', 'data:/data', image, 'sleep', '600'],
  );
  t.is(await engine.run('data', 'cat /data/greeting'), 'hello');
  t.is(await engine.podman('exec', 'user', 'cat', '/data/greeting'), 'hello');
  await t.throwsAsync(engine.podman('volume', 'rm', 'data'), { message: /is being used/ });
  await engine.podman('restart', '-t', '0', 'user');
  t.is(await engine.podman('exec', 'user', 'cat', '/data/greeting'), 'hello');
  await machine.kill();
  await machine.start();
  t.is(await engine.podman('exec', 'user', 'cat', '/data/greeting'), 'hello');
  await engine.podman('rm', '-f', '-t', '0', 'user');
  await untilNothingIsLeft(t, machine);

  await t.throwsAsync(create('other', 'sise=1G'), {
    message: /option "sise" \(value "1G"\) is unknown; did you mean size/,
  });
  await t.throwsAsync(create('other', 'pool=nowhere'), {
    message: /There is no pool "nowhere"\. Pools: default \(ext4, .*fcr pool create <name> --size/,
  });
  await t.throwsAsync(create('other', 'qos=none'), {
    message: /no QoS policy "none"\. Name one of fcr qos-policy list/,
  });
  await t.throwsAsync(create('other', 'size=much'), { message: /"size": "much" is refused; accepted: a size such as/ });
  const size = { volumeSizeBytes: 64 * 1024 ** 2, minFree: 0, maxVolumes: 1 };
  await machine.controller.poolCreate({ name: 'small', backend: 'file', filesystem: 'ext4', ...size });
  t.is(await create('last', 'pool=small'), 'last');
  await t.throwsAsync(create('other', 'pool=small'), {
    message:
      /No volume is left in pool "small": all 1 volumes are in use.* Pools: default .*small \(ext4, up to 64MiB, 0 free\).*fcr pool update <name> --max-volumes/,
  });
  await engine.podman('volume', 'rm', 'last');
  const attachment = await claimedFrom('node9', machine.controller, 'data');
  const elsewhere = new RegExp(`host "node9".*fcr attachment delete ${attachment} .*fcr host lost node9`);
  await t.throwsAsync(engine.run('data', 'true'), { message: elsewhere });
  await t.throwsAsync(engine.podman('volume', 'rm', 'data'), { message: elsewhere });
  const { epoch } = (await machine.controller.attachmentGet(attachment)) ?? { epoch: -1 };
  await machine.controller.attachmentDelete(attachment, { gone: { epoch, proof: 'off' } });
  await engine.podman('volume', 'rm', 'data');
  t.is(await machine.controller.volumeGet('data'), null);
});

test('podman makes a volume that is not there by its own driver: ours are created first', async (t) => {
  t.timeout(60_000);
  const { socketPath } = ownPlugin(t);
  const machine = await StandaloneMachine.start(t, { DOCKER_SOCKET: socketPath });
  const engine = await PodmanEngine.start(t, socketPath);
  await engine.run('new', 'true');
  t.is(await engine.podman('volume', 'inspect', '--format', '{{.Driver}}', 'new'), 'local');
  t.is(await machine.controller.volumeGet('new'), null);
});

test('with the controller gone, or silent, podman prints why and what to do, and what is mounted goes on', async (t) => {
  t.timeout(170_000);
  const { socketPath } = ownPlugin(t);
  const machine = await ControlledMachine.start(t);
  const agent = await machine.agentForEngines(socketPath);
  await agent.start();
  const engine = await PodmanEngine.start(t, socketPath);
  const create = (name: string) => engine.podman('volume', 'create', '--driver', 'fc', name);
  for (const name of ['data', 'idle']) t.is(await create(name), name);
  t.is(await engine.run('idle', 'echo kept > /data/file'), '');
  const script = 'echo before > /data/file; sleep 600';
  await engine.podman('run', '-d', '--name', 'keeper', '-v', 'data:/data', image, 'sh', '-c', script);
  const read = () => engine.podman('exec', 'keeper', 'cat', '/data/file');
  await until(() => read().then((text) => text === 'before'), { what: 'the container has written' });
  const refused = async (why: string) => {
    const message = new RegExp(`${why}.*What is mounted on this host goes on \\(fcr agent status shows .*try again`);
    await Promise.all([
      t.throwsAsync(create('new'), { message }),
      t.throwsAsync(engine.run('idle', 'true'), { message }),
    ]);
  };

  await machine.controller.kill();
  await refused('The controller does not answer: connect ECONNREFUSED');
  t.is(await engine.run('data', 'cat /data/file'), 'before');
  await engine.podman('restart', '-t', '0', 'keeper');
  t.is(await read(), 'before');

  await machine.startController();
  const isKnown = async () => (await agent.status()).controller.reachable === true;
  await until(isKnown, { what: 'the agent knows that the controller is back' });
  machine.controller.signal('SIGSTOP');
  await refused('The controller did not answer within \\d+ ms');
  t.is(await read(), 'before');
  await engine.podman('stop', '-t', '0', 'keeper');
  // It drops a volume of which it hears nothing from its own list; there it stays.
  const message =
    /volume idle could not be retrieved from plugin fc, but it has been removed from Podman.*did.not.answer/;
  await t.throwsAsync(engine.podman('volume', 'rm', 'idle'), { message });

  machine.controller.signal('SIGCONT');
  const isAtRest = async () => (await agent.mounts()).length === 0 && loopsBelow(machine.directory).length === 0;
  await until(isAtRest, { what: 'what was let go of meanwhile is unmounted', timeoutMs: 60_000, everyMs: 100 });
  t.deepEqual(mountsBelow(machine.directory), []);
  t.is(await create('idle'), 'idle');
  t.is(await engine.run('idle', 'cat /data/file'), 'kept');
  // What had no answer may have been done when it was heard: it can be asked for again.
  t.is(await create('new'), 'new');
  await engine.podman('rm', 'keeper');
  await engine.podman('volume', 'rm', 'data', 'idle', 'new');
  t.deepEqual((await machine.client.volumeList({ state: 'allocated' })).items, []);
});
