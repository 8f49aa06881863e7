/** HAZARDS 12: whatever moment a host is killed at, the next one finds the device at once, and only one. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { testOf } from '../support/groups.ts';
import { LinuxHostHarness } from '../support/linux-host-harness.ts';

const test = testOf('kernel').serial;
const rounds = 8;
const script = fileURLToPath(new URL('../support/fixtures/attach-for-ever.ts', import.meta.url));

test('HAZARDS 12: a host that is killed while it attaches and detaches leaves at most one device', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  const target = harness.makeTarget();
  for (let round = 0; round < rounds; round += 1) {
    await killWhileAttaching(t, harness, JSON.stringify({ directory: harness.directory, target }), round);
    t.true(harness.loopDevices().length <= 1);
    const host = await harness.restart();
    const device = await host.attach(target);
    t.deepEqual(harness.loopDevices(), [device.path]);
    t.is((await host.detach(target)).kind, 'gone');
    t.deepEqual(harness.loopDevices(), []);
  }
});

/** A moment after its first attach, another one in each round. */
async function killWhileAttaching(t: ExecutionContext, harness: LinuxHostHarness, job: string, round: number) {
  await harness.host.close();
  const child: ChildProcess = spawn(process.execPath, [script, job], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  if (child.stdout !== null) await once(child.stdout, 'data');
  await sleep(round * 1.3);
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}
