/** The process dies before and after each effect of an operation; another one over the same directory puts it right. */
import test, { type ExecutionContext } from 'ava';
import type { Agent } from '../../../src/agent/agent.ts';
import { AgentWorld } from '../../support/agent-world.ts';
import { Crash, CrashGate } from '../../support/crash-gate.ts';

interface Swept {
  readonly name: string;
  /** Before the process that will die. */
  prepare(world: AgentWorld): Promise<unknown>;
  act(agent: Agent): Promise<unknown>;
  /** What may be there after the reconcile when `act` was not answered, and what must be when it was. */
  readonly unanswered: readonly (readonly string[])[];
  readonly answered: readonly string[];
}

async function mounted(world: AgentWorld, ...volumes: readonly string[]): Promise<void> {
  const agent = await world.start();
  for (const volume of volumes) await agent.mount({ volume });
  await agent.close();
}

const idAt = (agent: Agent, volume: string) => agent.mounts().find((mount) => mount.volume === volume)?.id ?? '';

const sweeps: readonly Swept[] = [
  {
    name: 'a mount',
    prepare: async (world) => world.addVolume('data'),
    act: (agent) => agent.mount({ volume: 'data' }),
    unanswered: [[], ['data']],
    answered: ['data'],
  },
  {
    name: 'a first mount with its format (HAZARDS 11)',
    prepare: async (world) => world.addVolume('data', { formatted: false }),
    act: (agent) => agent.mount({ volume: 'data' }),
    unanswered: [[], ['data']],
    answered: ['data'],
  },
  {
    name: 'an unmount',
    prepare: async (world) => {
      world.addVolume('data');
      await mounted(world, 'data');
    },
    act: (agent) => agent.unmount(idAt(agent, 'data')),
    unanswered: [[], ['data']],
    answered: [],
  },
  {
    name: 'a mount and its unmount',
    prepare: async (world) => world.addVolume('data', { formatted: false }),
    act: async (agent) => agent.unmount((await agent.mount({ volume: 'data' })).id),
    unanswered: [[], ['data']],
    answered: [],
  },
  {
    name: 'the unmount of an engine, the last one that needs the volume',
    prepare: async (world) => {
      world.addVolume('data');
      const agent = await world.start();
      await agent.mount({ volume: 'data', path: world.path('data'), reference: 'engine' });
      await agent.close();
    },
    act: (agent) => agent.unmountReference('data', 'engine'),
    unanswered: [[], ['data']],
    answered: [],
  },
  {
    name: 'a reconcile after a reboot (HAZARDS 19)',
    prepare: async (world) => {
      for (const name of ['a', 'b']) world.addVolume(name);
      await mounted(world, 'a', 'b');
      world.host.reboot();
    },
    act: (agent) => agent.reconcile(),
    unanswered: [['a', 'b']],
    answered: ['a', 'b'],
  },
  {
    name: 'a detach that the controller wants',
    prepare: async (world) => {
      world.addVolume('data');
      await mounted(world, 'data');
      for (const id of world.controller.attachments.keys()) await world.controller.attachmentDelete(id);
    },
    act: (agent) => agent.reconcile(),
    unanswered: [[]],
    answered: [],
  },
];

/** Answers whether the process died. */
async function live(agent: Agent, gate: CrashGate, act: Swept['act']): Promise<boolean> {
  await act(agent).catch((error: unknown) => {
    if (!(error instanceof Crash)) throw error;
  });
  await agent.close();
  return gate.isDead;
}

async function reconciled(t: ExecutionContext, world: AgentWorld): Promise<object> {
  const agent = await world.start();
  const summary = await agent.reconcile();
  t.is(summary.problem, null);
  t.is(summary.outcomes.failed, 0);
  const state = world.state(agent);
  const second = await agent.reconcile();
  t.deepEqual(second.outcomes, { left: 0, kept: 0, remade: 0, released: 0, foreign: 0, failed: 0 });
  t.deepEqual(world.state(agent), state);
  await agent.close();
  return sorted(state);
}

function sorted(state: object): object {
  return Object.fromEntries(Object.entries(state).map(([key, list]) => [key, [...list].sort()]));
}

for (const sweep of sweeps) {
  test(`${sweep.name} that dies at any step is put right by the next agent`, async (t) => {
    for (let step = 0; ; step += 1) {
      const world = await AgentWorld.make(t);
      await sweep.prepare(world);
      const gate = new CrashGate(step);
      const died = await live(await world.start({ gate }), gate, sweep.act);
      const state = await reconciled(t, world);
      const allowed = (died ? sweep.unanswered : [sweep.answered]).map((names) => world.complete(...names));
      const where = `died ${gate.steps.at(-1)} (${step})`;
      t.true(
        allowed.some((each) => JSON.stringify(each) === JSON.stringify(state)),
        `${where}: ${JSON.stringify(state)}`,
      );
      if (!died) {
        t.true(step > 10, 'the sweep had steps');
        break;
      }
    }
  });
}

test('two mounts of one volume: the second one dying at any step leaves the first whole', async (t) => {
  for (let step = 0; ; step += 1) {
    const world = await AgentWorld.make(t);
    world.addVolume('data');
    await mounted(world, 'data');
    const gate = new CrashGate(step);
    const second = (agent: Agent) => agent.mount({ volume: 'data', path: '/mnt/second' });
    const died = await live(await world.start({ gate }), gate, second);
    if (!died) break;
    const state = JSON.stringify(await reconciled(t, world));
    t.true(state.includes(`data ${world.path('data')} mounted`), `${gate.steps.at(-1)}: ${state}`);
    const mounts = world.host.mounts.length;
    const agent = await world.start();
    t.is(agent.mounts().length, mounts);
    for (const { id } of agent.mounts()) await agent.unmount(id);
    t.deepEqual(world.state(agent), world.complete());
  }
});

test('dying twice, in the mount and in the reconcile that undoes it, is put right too', async (t) => {
  for (let step = 6; step < 24; step += 2) {
    for (let second = 0; second < 24; second += 3) {
      const world = await AgentWorld.make(t);
      world.addVolume('data', { formatted: false });
      const first = new CrashGate(step);
      await live(await world.start({ gate: first }), first, (agent) => agent.mount({ volume: 'data' }));
      const next = new CrashGate(second);
      await live(await world.start({ gate: next }), next, (agent) => agent.reconcile());
      const state = JSON.stringify(await reconciled(t, world));
      const allowed = [[], ['data']].map((names) => JSON.stringify(world.complete(...names)));
      t.true(allowed.includes(state), `${step} ${second}: ${state}`);
    }
  }
});
