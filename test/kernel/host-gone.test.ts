/** HAZARDS 3: a device counts as gone only when nobody, in any mount namespace, can still have its bytes. */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { invisiblePath } from '../../src/host/linux/inventory.ts';
import { attachAndMount, refused } from '../contract/host-contract.ts';
import { until } from '../support/daemon.ts';
import { testOf } from '../support/groups.ts';
import { detachAtLast } from '../support/host-harness.ts';
import { LinuxHostHarness } from '../support/linux-host-harness.ts';

const test = testOf('kernel').serial;

test('HAZARDS 3: a filesystem that another mount namespace holds is busy, and its device keeps the file', async (t) => {
  const harness = await LinuxHostHarness.make(t, { busyDeadlineMs: 100 });
  const target = harness.makeTarget();
  const path = harness.mountPath('held');
  const device = await attachAndMount(harness, target, path);
  writeFileSync(join(path, 'file'), 'content');
  const release = await harness.holdElsewhere();
  const failure = await refused(t, 'device-busy', () => harness.host.detach(target));
  t.regex(failure.message, /mount namespace of process \d+/);
  t.deepEqual(harness.loopDevices(), [device.path]);
  t.deepEqual(harness.mountPoints(), []);
  await release();
  t.is((await detachAtLast(harness.host, target)).kind, 'gone');
  t.deepEqual(harness.loopDevices(), []);
});

test('HAZARDS 3: a mount namespace without any process still keeps the device busy', async (t) => {
  const harness = await LinuxHostHarness.make(t, { busyDeadlineMs: 100 });
  const target = harness.makeTarget();
  await attachAndMount(harness, target, harness.mountPath('held'));
  const namespaces = join(harness.directory, 'namespaces');
  const pinned = join(namespaces, 'pinned');
  mkdirSync(namespaces);
  execFileSync('mount', ['--bind', '--make-private', namespaces, namespaces]);
  writeFileSync(pinned, '');
  harness.pinNamespace(pinned);
  await refused(t, 'device-busy', () => harness.host.detach(target));
  const isToldAsHeld = async () => {
    const { mounts } = await harness.host.inventory();
    return mounts.some(({ volumeId, path }) => volumeId === target.volumeId && path === invisiblePath);
  };
  await until(isToldAsHeld, { what: 'a holder that nobody sees is told' });
  execFileSync('umount', [pinned]);
  t.is((await detachAtLast(harness.host, target)).kind, 'gone');
  t.deepEqual(harness.loopDevices(), []);
});

test('HAZARDS 3: a device that a process has open is not gone before that closes it', async (t) => {
  const harness = await LinuxHostHarness.make(t, { busyDeadlineMs: 100 });
  const target = harness.makeTarget();
  const device = await harness.host.attach(target);
  const descriptor = openSync(device.path, 'r');
  await refused(t, 'device-busy', () => harness.host.detach(target));
  t.deepEqual(harness.loopDevices(), [device.path]);
  closeSync(descriptor);
  t.is((await detachAtLast(harness.host, target)).kind, 'gone');
  t.deepEqual(harness.loopDevices(), []);
});

test('HAZARDS 3: a mount that a process works in is busy, and is left as it was', async (t) => {
  const harness = await LinuxHostHarness.make(t, { busyDeadlineMs: 100 });
  const target = harness.makeTarget();
  const path = harness.mountPath('busy');
  await attachAndMount(harness, target, path);
  const descriptor = openSync(join(path, 'file'), 'w');
  await refused(t, 'device-busy', () => harness.host.unmount(path));
  await refused(t, 'device-busy', () => harness.host.detach(target));
  t.true(harness.mountPoints().includes(path));
  closeSync(descriptor);
  t.is((await detachAtLast(harness.host, target)).kind, 'gone');
});

test('HAZARDS 3: a device that is held for a moment only is gone by the same detach', async (t) => {
  const harness = await LinuxHostHarness.make(t, { busyDeadlineMs: 30_000 });
  const target = harness.makeTarget();
  const device = await harness.host.attach(target);
  const descriptor = openSync(device.path, 'r');
  const detaching = harness.host.detach(target);
  setTimeout(() => closeSync(descriptor), 100);
  t.is((await detaching).kind, 'gone');
  t.deepEqual(harness.loopDevices(), []);
});
