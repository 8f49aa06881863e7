/** Many engines' calls at once, by raw requests, while the agent is killed again and again under them. */
import type { ExecutionContext } from 'ava';
import { Random } from '../crash/random.ts';
import { ControlledMachine, type ProcessAgent } from '../support/controlled-machine.ts';
import { until } from '../support/daemon.ts';
import { callPlugin, ownPlugin, untilNothingIsLeft } from '../support/docker-world.ts';
import { testOf } from '../support/groups.ts';

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

interface Machine {
  readonly machine: ControlledMachine;
  readonly agent: ProcessAgent;
  readonly socketPath: string;
}

async function started(t: ExecutionContext): Promise<Machine> {
  const { socketPath } = ownPlugin(t);
  const pool = { DEFAULT_POOL_MIN_FREE: '100', DEFAULT_POOL_MAX_VOLUMES: '200', DEFAULT_POOL_VOLUME_SIZE: '16MiB' };
  const machine = await ControlledMachine.start(t, pool);
  const agent = await machine.agentForEngines(socketPath);
  await agent.start();
  return { machine, agent, socketPath };
}

test('200 calls at once on 100 volumes, and the agent killed at random: in the end nothing is left', async (t) => {
  t.timeout(170_000);
  const { machine, agent, socketPath } = await started(t);
  const names = Array.from({ length: volumeCount }, (_, index) => `v${index}`);
  await Promise.all(names.map((Name) => persistently(socketPath, 'Create', { Name, Opts: null })));
  let ended = 0;
  const call = async (method: string, body: object) => {
    await persistently(socketPath, method, body);
    ended += 1;
  };
  const use = async (caller: number) => {
    const body = { Name: `v${caller % volumeCount}`, ID: `container-${caller}` };
    await call('Mount', body);
    await call('Unmount', body);
  };
  const done = Promise.all(Array.from({ length: callers }, (_, caller) => use(caller)));
  for (const progress of killPoints(t)) {
    await until(() => ended >= progress, { what: `${progress} calls have ended`, timeoutMs: 100_000, everyMs: 1 });
    t.true(ended < 2 * callers, 'nothing was under way any more');
    await agent.process.kill();
    await agent.start();
  }
  await done;
  const { directory, client: controller } = machine;
  const log = agent.process.log;
  await untilNothingIsLeft(t, { directory, controller, mounts: () => agent.mounts(), logTail: log });
  await Promise.all(names.map((Name) => persistently(socketPath, 'Remove', { Name })));
  const { items } = await controller.volumeList({ state: 'allocated' });
  t.deepEqual(items, []);
});

/** After how many calls it is killed: before the first ones have ended, and at random. */
function killPoints(t: ExecutionContext): readonly number[] {
  const seed = Number(process.env.FCR_TEST_SEED ?? Date.now() % 100_000);
  t.log(`FCR_TEST_SEED=${seed} brings these kills back`);
  const random = new Random(seed);
  const points = Array.from({ length: kills - 1 }, () => 1 + random.below(2 * callers - 20));
  return [1, ...points.sort((a, b) => a - b)];
}
