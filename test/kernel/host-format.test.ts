/** HAZARDS 4 and 11: formatting under the volume's lock, by force, and again after any crash. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { type RunCommand, runCommand } from '../../src/system/command.ts';
import { at, refused } from '../contract/host-contract.ts';
import { testOf } from '../support/groups.ts';
import { LinuxHostHarness } from '../support/linux-host-harness.ts';

const test = testOf('kernel').serial;

/** Like mkfs killed half way: something that looks like a filesystem and is none. */
const halfMkfs: RunCommand = async (argv, options) => {
  const device = argv.at(-1) ?? '';
  await runCommand(['dd', 'if=/dev/urandom', `of=${device}`, 'bs=4096', 'count=64', 'conv=fsync'], options);
  return await runCommand(['sh', '-c', 'kill -KILL $$'], options);
};

test('HAZARDS 11: a format that crashed half way is done again by force and gives a clean filesystem', async (t) => {
  let run: RunCommand = halfMkfs;
  const harness = await LinuxHostHarness.make(t, { runCommand: (argv, options) => run(argv, options) });
  const target = harness.makeTarget();
  const device = await harness.host.attach(target);
  const path = harness.mountPath('data');
  await refused(t, 'device-error', () => harness.host.format(device, target, 'ext4'));
  await refused(t, 'device-error', () => harness.host.mount(device, target, at(path)));
  run = runCommand;
  await harness.host.format(device, target, 'ext4');
  await harness.host.mount(device, target, at(path));
  t.deepEqual(readdirSync(path), []);
});

test('HAZARDS 11: only a medium without any data is taken to be zero already', async (t) => {
  const seen: string[] = [];
  const harness = await LinuxHostHarness.make(t, {
    runCommand: (argv, options) => {
      seen.push(argv.join(' '));
      return runCommand(argv, options);
    },
  });
  const target = harness.makeTarget();
  const device = await harness.host.attach(target);
  await harness.host.format(device, target, 'ext4');
  await harness.host.format(device, target, 'ext4');
  t.is(seen.length, 2);
  t.regex(seen[0] ?? '', /assume_storage_prezeroed=1/);
  t.notRegex(seen[1] ?? '', /prezeroed/);
});

test('HAZARDS 4: a format waits for whoever changes the bytes, and is refused when that does not end', async (t) => {
  const harness = await LinuxHostHarness.make(t, { lockDeadlineMs: 500 });
  const target = harness.makeTarget();
  const device = await harness.host.attach(target);
  const orphan = await holdLock(t, harness, target.volumeId);
  await refused(t, 'device-busy', () => harness.host.format(device, target, 'ext4'));
  orphan.kill('SIGKILL');
  await once(orphan, 'exit');
  await t.notThrowsAsync(harness.host.format(device, target, 'ext4'));
});

test('HAZARDS 4: the program that formats holds the lock itself and is ended at its deadline', async (t) => {
  const lockStates: boolean[] = [];
  const sleeping: RunCommand = async (_argv, options) => {
    const running = runCommand(['sleep', '600'], options);
    lockStates.push(await isLocked(harness, target.volumeId));
    return await running;
  };
  const harness = await LinuxHostHarness.make(t, { runCommand: sleeping, formatDeadlineMs: 1_000 });
  const target = harness.makeTarget();
  const device = await harness.host.attach(target);
  await refused(t, 'deadline-exceeded', () => harness.host.format(device, target, 'ext4'));
  t.deepEqual(lockStates, [true]);
  t.false(await isLocked(harness, target.volumeId));
});

test('HAZARDS 4: a program that outlives its killed parent keeps the volume locked', async (t) => {
  const harness = await LinuxHostHarness.make(t, { lockDeadlineMs: 500 });
  const target = harness.makeTarget();
  const device = await harness.host.attach(target);
  const inherited = await holdLock(t, harness, target.volumeId, 'sleep 600 & echo $!; wait');
  const orphanPid = Number(inherited.firstLine);
  t.teardown(() => endQuietly(orphanPid));
  inherited.kill('SIGKILL');
  await once(inherited, 'exit');
  await refused(t, 'device-busy', () => harness.host.format(device, target, 'ext4'));
  process.kill(orphanPid, 'SIGKILL');
  await t.notThrowsAsync(harness.host.format(device, target, 'ext4'));
});

test('xfs is made and mounted as well', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  const target = harness.makeTarget({ sizeBytes: 320 * 1024 * 1024 });
  const device = await harness.host.attach(target);
  const path = harness.mountPath('xfs');
  await harness.host.format(device, target, 'xfs');
  await harness.host.mount(device, target, { ...at(path), filesystem: 'xfs' });
  t.regex(readFileSync('/proc/mounts', 'utf8'), new RegExp(`^${device.path} ${path} xfs rw,nosuid,nodev`, 'm'));
  t.is((await harness.host.detach(target)).kind, 'gone');
});

type Holder = ChildProcess & { readonly firstLine: string };

/** A process that has the volume's lock; it ends when its input, which is ours, does. */
async function holdLock(
  t: ExecutionContext,
  harness: LinuxHostHarness,
  volumeId: string,
  script = 'echo ready; exec cat',
): Promise<Holder> {
  const directory = join(harness.media.volumesDirectory, 'locks');
  mkdirSync(directory, { recursive: true });
  const argv = ['--no-fork', join(directory, `${volumeId}.lock`), 'sh', '-c', script];
  const child = spawn('flock', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const [line] = await once(child.stdout, 'data');
  return Object.assign(child, { firstLine: String(line).trim() });
}

async function isLocked(harness: LinuxHostHarness, volumeId: string): Promise<boolean> {
  const path = join(harness.media.volumesDirectory, 'locks', `${volumeId}.lock`);
  const child = spawn('flock', ['--nonblock', path, 'true'], { stdio: 'ignore' });
  const [exitCode] = await once(child, 'exit');
  return exitCode !== 0;
}

function endQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Ended by the test itself.
  }
}
