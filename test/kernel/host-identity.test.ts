/** HAZARDS 5 and 12: which device is the medium's, whatever crashed or was recycled before. */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { localFabric } from '../../src/host/linux/identity.ts';
import { at, attachAndMount, refused } from '../contract/host-contract.ts';
import { testOf } from '../support/groups.ts';
import { LinuxHostHarness, makeSparseFile } from '../support/linux-host-harness.ts';
import { scratchDirectory } from '../support/local-storage-node.ts';

const test = testOf('kernel').serial;

test('HAZARDS 5: a stale device of the last owner does not pass for the new medium', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  const first = harness.makeTarget();
  const stale = await harness.host.attach(first);
  const second = harness.nextOwner(first);
  const device = await harness.host.attach(second);
  t.not(device.path, stale.path);
  await refused(t, 'identity-mismatch', () => harness.host.format(stale, second, 'ext4'));
  await refused(t, 'identity-mismatch', () => harness.host.mount(stale, second, at(harness.mountPath('stale'))));
});

test('HAZARDS 5: a recycled inode number under another generation is refused', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  const first = harness.makeTarget();
  await harness.host.attach(first);
  await harness.host.detach(first);
  const second = harness.nextOwner(first);
  await refused(t, 'identity-mismatch', () => harness.host.attach({ ...first, epoch: second.epoch }));
  t.deepEqual(harness.loopDevices(), []);
});

test('HAZARDS 5: a file of the right name that replaced the attached one is another medium', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  const target = harness.makeTarget();
  const device = await harness.host.attach(target);
  rmSync(harness.media.fileOf(target));
  makeSparseFile(harness.media.fileOf(target), target.sizeBytes);
  await refused(t, 'identity-mismatch', () => harness.host.format(device, target, 'ext4'));
  await refused(t, 'identity-mismatch', () => harness.host.mount(device, target, at(harness.mountPath('replaced'))));
});

test('HAZARDS 5: a medium of another size than the store says is refused', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  const target = harness.makeTarget();
  await refused(t, 'identity-mismatch', () => harness.host.attach({ ...target, sizeBytes: target.sizeBytes * 2 }));
  t.deepEqual(harness.loopDevices(), []);
});

test('HAZARDS 12: a device that a crashed attempt made is used again, not made twice', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  const target = harness.makeTarget();
  execFileSync('losetup', ['--find', harness.media.fileOf(target)]);
  const [made] = harness.loopDevices();
  const device = await harness.host.attach(target);
  t.deepEqual([device.path], [made]);
  t.deepEqual(harness.loopDevices(), [device.path]);
});

test('HAZARDS 12: of two devices on one medium the idle one is removed', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  const target = harness.makeTarget();
  const device = await attachAndMount(harness, target, harness.mountPath('kept'));
  execFileSync('losetup', ['--find', harness.media.fileOf(target)]);
  t.is(harness.loopDevices().length, 2);
  const restarted = await harness.restart();
  t.deepEqual(await restarted.attach(target), device);
  t.deepEqual(harness.loopDevices(), [device.path]);
});

test('HAZARDS 12: two devices on one medium that are both in use are refused', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  const target = harness.makeTarget();
  await attachAndMount(harness, target, harness.mountPath('one'));
  execFileSync('losetup', ['--find', harness.media.fileOf(target)]);
  const second = harness.loopDevices().find((path) => !readFileSync('/proc/mounts', 'utf8').includes(`${path} `));
  const descriptor = openExclusively(second);
  const restarted = await harness.restart();
  await refused(t, 'device-busy', () => restarted.attach(target));
  t.is(harness.loopDevices().length, 2);
  closeSync(descriptor);
  await restarted.detach(target);
  t.deepEqual(harness.loopDevices(), []);
});

test('HAZARDS 12: an attached device cannot be rebound before it is mounted', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  const [target, other] = [harness.makeTarget(), harness.makeTarget()];
  const device = await harness.host.attach(target);
  await harness.host.format(device, target, 'ext4');
  execFileSync('losetup', ['-d', device.path]);
  t.throws(() => execFileSync('losetup', [device.path, harness.media.fileOf(other)], { stdio: 'ignore' }));
  const path = harness.mountPath('proved');
  await harness.host.mount(device, target, at(path));
  t.deepEqual(readdirSync(path), []);
  await harness.host.detach(target);
  t.deepEqual(harness.loopDevices(), []);
});

test('HAZARDS 12: a device on a deleted file below our directory is ours, shown and removed', async (t) => {
  const harness = await LinuxHostHarness.make(t);
  const target = harness.makeTarget();
  const device = await harness.host.attach(target);
  harness.unexport(target);
  rmSync(harness.media.fileOf(target));
  const restarted = await harness.restart();
  const { volumeId, mediaGeneration } = target;
  t.deepEqual((await restarted.inventory()).devices, [{ path: device.path, volumeId, mediaGeneration, deleted: true }]);
  t.is((await restarted.detach(target)).kind, 'gone');
  t.deepEqual(harness.loopDevices(), []);
});

test("HAZARDS 12: other people's loop devices are neither shown nor touched", async (t) => {
  const harness = await LinuxHostHarness.make(t);
  const target = harness.makeTarget();
  const foreign = join(harness.directory, 'vol_1.1.img');
  makeSparseFile(foreign, target.sizeBytes);
  execFileSync('losetup', ['--find', foreign]);
  const theirs = harness.loopDevices();
  await attachAndMount(harness, target, harness.mountPath('ours'));
  t.is((await harness.host.inventory()).devices.length, 1);
  await harness.host.detach(target);
  t.deepEqual((await harness.host.inventory()).devices, []);
  t.deepEqual(harness.loopDevices(), theirs);
});

/** As a filesystem or a device mapper has it; linux/fcntl.h O_EXCL. */
function openExclusively(path = ''): number {
  return openSync(path, 0o200);
}

test('where the exports are out of reach the local port is offline, which is logged, and ports are told all the same', async (t) => {
  const exportsDirectory = join(await scratchDirectory(t), 'exports');
  symlinkSync(exportsDirectory, exportsDirectory);
  const logged: object[] = [];
  const harness = await LinuxHostHarness.make(t, { exportsDirectory, log: { warn: (fields) => logged.push(fields) } });
  const ports = await harness.host.discoverPorts();
  t.deepEqual(
    ports.filter(({ fabric }) => fabric === localFabric).map(({ state }) => state),
    ['offline'],
  );
  t.like(logged, [{ err: { code: 'ELOOP' } }]);
});
