/** Many engines' calls at once, by raw requests, while the product is killed again and again under them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { until } from '../support/daemon.ts';
import { callPlugin, ownPlugin, untilNothingIsLeft } from '../support/docker-world.ts';
import { testOf } from '../support/groups.ts';
import { StandaloneMachine } from '../support/standalone-machine.ts';

const test = testOf('clients').serial;
const volumeCount = 100;
const callers = 200;
const kills = Number(process.env.FCR_TEST_KILLS ?? 4);

/** As dockerd does, a call that finds nobody is made again; so is one whose volume is busy or the controller starting. */
async function persistently(socketPath: string, method: string, body: object): Promise<void> {
  let last = '';
  const succeeds = async () => {
    last = await callPlugin(socketPath, `VolumeDriver.${method}`, body).then(
      ({ Err }) => Err,
      (error: unknown) => String(error),
    );
    return last === '';
  };
  await until(succeeds, { what: `${method} ${JSON.stringify(body)}`, timeoutMs: 100_000, everyMs: 500 }).catch(
    (error) => {
      throw new Error(`${error}: ${last}`);
    },
  );
}

async function started(t: ExecutionContext): Promise<{ machine: StandaloneMachine; socketPath: string }> {
  const { socketPath } = ownPlugin(t);
  const settings = { DOCKER_SOCKET: socketPath, DEFAULT_POOL_MIN_FREE: '100', DEFAULT_POOL_MAX_VOLUMES: '200' };
  const machine = await StandaloneMachine.start(t, { ...settings, DEFAULT_POOL_VOLUME_SIZE: '16MiB' });
  return { machine, socketPath };
}

test('200 calls at once on 100 volumes, and the agent killed at random: in the end nothing is left', async (t) => {
  t.timeout(170_000);
  const { machine, socketPath } = await started(t);
  const names = Array.from({ length: volumeCount }, (_, index) => `v${index}`);
  await Promise.all(names.map((Name) => persistently(socketPath, 'Create', { Name, Opts: null })));
  const use = async (caller: number) => {
    const body = { Name: `v${caller % volumeCount}`, ID: `container-${caller}` };
    await persistently(socketPath, 'Mount', body);
    await persistently(socketPath, 'Unmount', body);
  };
  const done = Promise.all(Array.from({ length: callers }, (_, caller) => use(caller)));
  for (let kill = 0; kill < kills; kill += 1) {
    await sleep(200 + ((kill * 331) % 700));
    await machine.kill();
    await machine.start();
  }
  await done;
  await untilNothingIsLeft(t, machine);
  await Promise.all(names.map((Name) => persistently(socketPath, 'Remove', { Name })));
  const { items } = await machine.controller.volumeList({ state: 'allocated' });
  t.deepEqual(items, []);
});
