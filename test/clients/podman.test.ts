/** The same plugin under podman, which names each volume by one ID for ever and takes a 200 for success. */

import { image } from '../support/docker-engine.ts';
import { claimedFrom, ownPlugin, untilNothingIsLeft } from '../support/docker-world.ts';
import { testOf } from '../support/groups.ts';
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
  const attachment = await claimedFrom('node9', machine.controller, 'data');
  const elsewhere = new RegExp(`host "node9".*fcr attachment delete ${attachment} .*fcr host lost node9`);
  await t.throwsAsync(engine.run('data', 'true'), { message: elsewhere });
  await t.throwsAsync(engine.podman('volume', 'rm', 'data'), { message: elsewhere });
  const { epoch } = (await machine.controller.attachmentGet(attachment)) ?? { epoch: -1 };
  await machine.controller.attachmentDelete(attachment, { gone: { epoch, proof: 'off' } });
  await engine.podman('volume', 'rm', 'data');
  t.is(await machine.controller.volumeGet('data'), null);
});
