/** The agent over the simulated host that the product ships: its bytes, its crashes, its reboots. */
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Agent } from '../../../src/agent/agent.ts';
import { MountJournal } from '../../../src/agent/mount-journal.ts';
import type { HostMethod } from '../../../src/host/simulator/faults.ts';
import { SimulatedHost } from '../../../src/host/simulator/simulated-host.ts';
import { systemClock } from '../../../src/system/clock.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { hostName } from '../../support/agent-world.ts';
import { FakeController } from '../../support/fake-controller.ts';

interface Life {
  readonly agent: Agent;
  readonly host: SimulatedHost;
  end(): Promise<void>;
}

class Machine {
  readonly controller = new FakeController();
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async make(t: ExecutionContext): Promise<Machine> {
    const directory = await realpath(await mkdtemp(join(tmpdir(), 'agent-simulated-')));
    await mkdir(join(directory, 'agent'));
    t.teardown(() => rm(directory, { recursive: true, force: true }));
    const machine = new Machine(directory);
    machine.controller.addVolume('data');
    return machine;
  }

  async live(bootId: string): Promise<Life> {
    const host = await SimulatedHost.open({ directory: join(this.directory, 'host'), bootId });
    const journal = await MountJournal.open(join(this.directory, 'mounts.journal'));
    const agent = await Agent.compose({
      ...{ controller: this.controller, host, journal, hostName, logger: silentLog, clock: systemClock },
      stateDirectory: join(this.directory, 'agent'),
      intervals: { attachRetryMs: 200 },
    });
    const end = async () => {
      await agent.close();
      await journal.close();
      await host.close();
    };
    return { agent, host, end };
  }

  async inventory({ agent, host }: Life): Promise<object> {
    const { devices, mounts } = await host.inventory();
    const records = agent.mounts().map(({ state }) => state);
    return { records, devices: devices.length, mounts: mounts.length, attachments: this.controller.attachments.size };
  }
}

const nothing = { records: [], devices: 0, mounts: 0, attachments: 0 };
const one = { records: ['mounted'], devices: 1, mounts: 1, attachments: 1 };

test('a mount is answered again, survives a restart and a reboot with its bytes, and goes', async (t) => {
  const machine = await Machine.make(t);
  const first = await machine.live('boot-1');
  const mount = await first.agent.mount({ volume: 'data' });
  await writeFile(join(mount.path, 'file'), 'content');
  t.like(await first.agent.mount({ volume: 'data' }), { id: mount.id, path: mount.path, existing: true });
  await first.end();
  for (const bootId of ['boot-1', 'boot-2']) {
    const life = await machine.live(bootId);
    t.is((await life.agent.reconcile()).outcomes.failed, 0);
    t.deepEqual(await machine.inventory(life), one, bootId);
    t.is(await readFile(join(mount.path, 'file'), 'utf8'), 'content');
    await life.end();
  }
  const last = await machine.live('boot-2');
  await last.agent.unmount(mount.id);
  t.deepEqual(await machine.inventory(last), nothing);
  await last.end();
});

const methods: readonly HostMethod[] = ['attach', 'mount', 'unmount', 'detach'];
for (const method of methods) {
  for (const kind of ['crash-before', 'crash-after'] as const) {
    test(`a host that dies in ${method} (${kind}) is in order after the next start, rebooted or not`, async (t) => {
      for (const bootId of ['boot-1', 'boot-2']) {
        const machine = await Machine.make(t);
        const dying = await machine.live('boot-1');
        dying.host.faults.plan({ kind, method });
        const mounted = await dying.agent.mount({ volume: 'data' }).catch(() => null);
        if (mounted !== null) await t.throwsAsync(dying.agent.unmount(mounted.id));
        await dying.end();
        const life = await machine.live(bootId);
        t.is((await life.agent.reconcile()).outcomes.failed, 0);
        t.deepEqual(await machine.inventory(life), nothing, bootId);
        await life.end();
      }
    });
  }
}

test('an unmount takes away the mount point that its mount made, and leaves one that was there', async (t) => {
  const machine = await Machine.make(t);
  const { agent, end } = await machine.live('boot-1');
  const [made, present] = ['made', 'present'].map((name) => join(machine.directory, name));
  await mkdir(present ?? '');
  for (const path of [made, present]) await agent.unmount((await agent.mount({ volume: 'data', path })).id);
  t.deepEqual(
    (await readdir(machine.directory)).filter((name) => ['made', 'present'].includes(name)),
    ['present'],
  );
  await end();
});
