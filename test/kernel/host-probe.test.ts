/** What a machine allows is tried out, and trying it out leaves nothing. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { testOf } from '../support/groups.ts';
import { LinuxHostHarness } from '../support/linux-host-harness.ts';

const test = testOf('kernel').serial;

test('loop devices and mounts are tried out, and nothing of it is left', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  t.like(harness.host.capabilities, { simulated: false, loop: true, mount: true, reasons: [] });
  t.deepEqual([harness.loopDevices(), harness.mountPoints()], [[], []]);
  t.deepEqual(readdirSync(join(harness.directory, 'state')).sort(), ['epochs.log', 'mnt', 'seed']);
});

test('what a crash inside the trial left is removed by the next one', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  const left = join(harness.directory, 'state', 'probe');
  mkdirSync(left);
  execFileSync('mount', ['-t', 'tmpfs', 'fcr-probe', left]);
  const host = await harness.restart();
  t.true((await host.inventory()).mounts.length === 0 && harness.mountPoints().length === 0);
  t.false(readdirSync(join(harness.directory, 'state')).includes('probe'));
});
