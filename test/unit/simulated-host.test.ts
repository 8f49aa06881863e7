import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { SimulatedCrash } from '../../src/host/simulator/faults.ts';
import { SimulatedHost } from '../../src/host/simulator/simulated-host.ts';
import { at, attachAndMount, refused } from '../contract/host-contract.ts';
import { targetOf } from '../support/host-harness.ts';
import { SimulatedHostHarness } from '../support/simulated-host-harness.ts';

test('a planned failure happens as often as planned and changes nothing', async (t) => {
  const { host, target } = await setUp(t);
  host.faults.plan({ kind: 'fail', method: 'attach', code: 'device-error', times: 2 });
  await refused(t, 'device-error', () => host.attach(target));
  await refused(t, 'device-error', () => host.attach(target));
  t.deepEqual((await host.inventory()).devices, []);
  await t.notThrowsAsync(host.attach(target));
});

test('a crash before the action leaves nothing, and the host answers no more', async (t) => {
  const { harness, host, target } = await setUp(t);
  host.faults.plan({ kind: 'crash-before', method: 'attach' });
  await t.throwsAsync(host.attach(target), { instanceOf: SimulatedCrash });
  await t.throwsAsync(host.inventory(), { instanceOf: SimulatedCrash });
  t.deepEqual((await (await harness.restart()).inventory()).devices, []);
});

test('a crash after the action leaves it done, and a repeat finds it', async (t) => {
  const { harness, host, target } = await setUp(t);
  host.faults.plan({ kind: 'crash-after', method: 'attach' });
  await t.throwsAsync(host.attach(target), { instanceOf: SimulatedCrash });
  const reopened = await harness.restart();
  const { devices } = await reopened.inventory();
  t.is(devices.length, 1);
  t.deepEqual([(await reopened.attach(target)).path], [devices[0]?.path]);
});

test('a delayed call acts only when it is let go', async (t) => {
  const { host, target } = await setUp(t);
  const { promise: until, resolve: letGo } = Promise.withResolvers<void>();
  host.faults.plan({ kind: 'delay', method: 'attach', until });
  const attaching = host.attach(target);
  t.deepEqual((await host.inventory()).devices, []);
  letGo();
  await attaching;
  t.is((await host.inventory()).devices.length, 1);
});

test('a call that was delayed until a newer epoch was seen is refused', async (t) => {
  const { host, target } = await setUp(t);
  const { promise: until, resolve: letGo } = Promise.withResolvers<void>();
  host.faults.plan({ kind: 'delay', method: 'attach', until });
  const late = host.attach(target);
  await host.detach({ ...target, epoch: 2 });
  letGo();
  await refused(t, 'stale-epoch', () => late);
  t.deepEqual((await host.inventory()).devices, []);
});

test('a device of the wrong identity is neither formatted nor mounted', async (t) => {
  const { harness, host, target } = await setUp(t);
  const path = harness.mountPath('data');
  const device = await attachAndMount(harness, target, path);
  writeFileSync(join(path, 'file'), 'content');
  host.faults.plan({ kind: 'wrong-identity', method: 'format' });
  host.faults.plan({ kind: 'wrong-identity', method: 'mount' });
  await refused(t, 'identity-mismatch', () => host.format(device, target, 'ext4'));
  await refused(t, 'identity-mismatch', () => host.mount(device, target, at(harness.mountPath('other'))));
  t.deepEqual(readdirSync(path), ['file']);
});

test('HAZARDS 19: a reboot ends devices and mounts, changes the boot id, and keeps bytes and epochs', async (t) => {
  const { harness, host, target } = await setUp(t);
  const path = harness.mountPath('data');
  await attachAndMount(harness, { ...target, epoch: 2 }, path);
  writeFileSync(join(path, 'file'), 'content');
  const before = await host.inventory();
  await host.reboot();
  const after = await host.inventory();
  t.not(after.bootId, before.bootId);
  t.deepEqual([after.devices, after.mounts, readdirSync(path)], [[], [], []]);
  await refused(t, 'stale-epoch', () => host.attach(target));
  const device = await host.attach({ ...target, epoch: 2 });
  await host.mount(device, { ...target, epoch: 2 }, at(path));
  t.is(readFileSync(join(path, 'file'), 'utf8'), 'content');
});

test('another boot id of the machine at start is a reboot; the same one is not', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'fcr-host-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const devicesAfter = async (bootId: string) => {
    const host = await SimulatedHost.open({ directory, bootId });
    const { devices } = await host.inventory();
    if (devices.length === 0) await host.attach(targetOf(1));
    await host.close();
    return devices.length;
  };
  t.deepEqual([await devicesAfter('a'), await devicesAfter('a'), await devicesAfter('b')], [0, 1, 0]);
});

test('without a directory everything is in memory and no path is touched', async (t) => {
  const host = await SimulatedHost.open({ reasons: ['no root'] });
  t.teardown(() => host.close());
  const device = await host.attach(targetOf(1));
  await host.mount(device, targetOf(1), at('/nowhere/at/all'));
  t.is((await host.inventory()).mounts.length, 1);
  t.deepEqual(host.capabilities.reasons, ['no root']);
  t.true(host.capabilities.simulated);
});

async function setUp(t: ExecutionContext) {
  const harness = await SimulatedHostHarness.make(t);
  return { harness, host: harness.host, target: harness.makeTarget() };
}
