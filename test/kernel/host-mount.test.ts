/** What a mount looks like to its user, and what a reboot leaves of it. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { at, attachAndMount, refused } from '../contract/host-contract.ts';
import { testOf } from '../support/groups.ts';
import { detachAtLast } from '../support/host-harness.ts';
import { LinuxHostHarness } from '../support/linux-host-harness.ts';

const test = testOf('kernel').serial;

test('a mount has no lost+found, no devices, no set-user-id, and the owner and mode that were asked for', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  const target = harness.makeTarget();
  const device = await harness.host.attach(target);
  await harness.host.format(device, target, 'ext4');
  const path = harness.mountPath('owned');
  await harness.host.mount(device, target, { ...at(path), uid: 1234, gid: 2345, mode: 0o2770 });
  const { uid, gid, mode } = statSync(path);
  t.deepEqual({ uid, gid, mode: mode & 0o7777 }, { uid: 1234, gid: 2345, mode: 0o2770 });
  t.regex(readFileSync('/proc/mounts', 'utf8'), new RegExp(`^${device.path} ${path} ext4 rw,nosuid,nodev`, 'm'));
});

test('owner and mode stay as they are once something was written', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  const target = harness.makeTarget();
  const device = await attachAndMount(harness, target, harness.mountPath('first'));
  writeFileSync(join(harness.mountPath('first'), 'file'), 'content');
  const path = harness.mountPath('second');
  await harness.host.mount(device, target, { ...at(path), uid: 1234, mode: 0o700 });
  t.deepEqual([statSync(path).uid, statSync(path).mode & 0o7777], [0, 0o755]);
});

test('a filesystem that came without a data directory gets one, with the owner that was asked for', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  const target = harness.makeTarget();
  execFileSync('mkfs.ext4', ['-q', '-F', harness.media.fileOf(target)]);
  const device = await harness.host.attach(target);
  const path = harness.mountPath('bare');
  await harness.host.mount(device, target, { ...at(path), uid: 1234 });
  t.deepEqual([readdirSync(path), statSync(path).uid], [[], 1234]);
});

test('a read-only mount refuses writes beside one that takes them', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  const target = harness.makeTarget();
  const [writable, readOnly] = [harness.mountPath('rw'), harness.mountPath('ro')];
  const device = await attachAndMount(harness, target, writable);
  await harness.host.mount(device, target, { ...at(readOnly), readOnly: true });
  writeFileSync(join(writable, 'file'), 'content');
  t.is(readFileSync(join(readOnly, 'file'), 'utf8'), 'content');
  t.throws(() => writeFileSync(join(readOnly, 'other'), ''), { code: 'EROFS' });
});

test('a read-only-many attachment gets a device that cannot be written', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  const writer = harness.makeTarget();
  const path = harness.mountPath('shared');
  await attachAndMount(harness, writer, path);
  writeFileSync(join(path, 'file'), 'content');
  await harness.host.detach(writer);
  const reader = { ...writer, accessMode: 'read-only-many' as const, epoch: 2, attachmentId: 'att_reader' };
  const device = await harness.host.attach(reader);
  await harness.host.mount(device, reader, at(path));
  t.is(readFileSync(join(path, 'file'), 'utf8'), 'content');
  t.throws(() => writeFileSync(join(path, 'other'), ''), { code: 'EROFS' });
  t.throws(() => writeFileSync(device.path, 'x'), { code: 'EPERM' });
  t.is((await harness.host.detach(reader)).kind, 'gone');
});

test('what the kernel copied for a service that follows our mounts is told as such, and goes with ours', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  harness.shareMounts();
  await harness.followElsewhere();
  const target = harness.makeTarget();
  const path = harness.mountPath('data');
  await attachAndMount(harness, target, path);
  const foreign = await harness.mountsElsewhere();
  t.true(foreign.some((mount) => mount.path === path));
  t.true(foreign.every((mount) => mount.isPropagated === true));
  t.is((await harness.host.detach(target)).kind, 'gone');
});

test('a copy of our mount that stays when ours goes is told as a use of its own', async (t) => {
  const harness = await LinuxHostHarness.make(t, { busyDeadlineMs: 100 });
  harness.shareMounts();
  const target = harness.makeTarget();
  const path = harness.mountPath('data');
  await attachAndMount(harness, target, path);
  const release = await harness.holdElsewhere();
  const foreign = await harness.mountsElsewhere();
  t.true(foreign.some((mount) => mount.path === path));
  t.true(foreign.every((mount) => mount.isPropagated === undefined));
  await release();
  t.is((await detachAtLast(harness.host, target)).kind, 'gone');
});

test('HAZARDS 19: after a reboot the boot id tells it, and what is still wanted is made again', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  const target = harness.makeTarget();
  const path = harness.mountPath('data');
  await attachAndMount(harness, target, path);
  writeFileSync(join(path, 'file'), 'content');
  const before = await harness.host.inventory();
  loseDevices(harness);
  harness.useRoot(rebootedRoot(harness.directory));
  const host = await harness.restart();
  const after = await host.inventory();
  t.not(after.bootId, before.bootId);
  t.deepEqual({ ...after, sequence: 0, bootId: '' }, { sequence: 0, bootId: '', devices: [], mounts: [] });
  const device = await host.attach(target);
  await host.mount(device, target, at(path));
  t.is(readFileSync(join(path, 'file'), 'utf8'), 'content');
});

/** What a reboot takes: mounts and loop devices. */
function loseDevices(harness: LinuxHostHarness): void {
  for (const path of harness.mountPoints().reverse()) execFileSync('umount', [path]);
  for (const device of harness.loopDevices()) execFileSync('losetup', ['-d', device]);
}

/** The kernel's files as they are, with another boot id. */
function rebootedRoot(directory: string): string {
  const root = join(directory, 'root');
  mkdirSync(join(root, 'proc/sys/kernel/random'), { recursive: true });
  for (const name of ['sys', 'etc']) symlinkSync(`/${name}`, join(root, name));
  symlinkSync('/proc/self', join(root, 'proc/self'));
  writeFileSync(join(root, 'proc/sys/kernel/random/boot_id'), '00000000-0000-4000-8000-000000000001\n');
  return root;
}

test('an unmount that is refused names the process that works in the mount', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  const path = harness.mountPath('busy');
  await attachAndMount(harness, harness.makeTarget(), path);
  const worker = spawn('sh', ['-c', 'echo ready; exec cat'], { cwd: path, stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(worker, 'exit');
  t.teardown(() => worker.kill());
  await once(worker.stdout, 'data');
  const { message } = await refused(t, 'device-busy', () => harness.host.unmount(path));
  t.regex(message, new RegExp(`^${path} is in use by process ${worker.pid} \\(\\w+\\)\\.$`));
  worker.stdin.end();
  await ended;
  await t.notThrowsAsync(harness.host.unmount(path));
});
