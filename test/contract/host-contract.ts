/** What every host adapter promises; each test has a host, and media exported to it, of its own. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { type ErrorCode, Failure } from '../../src/domain/errors.ts';
import type { Device, DeviceTarget, MountOptions } from '../../src/host/host.ts';
import { detachAtLast, type HostHarness, ownMounts } from '../support/host-harness.ts';

type Declare = (title: string, implementation: (t: ExecutionContext) => Promise<void>) => void;

export interface HostContractOptions {
  readonly adapter: string;
  readonly declare: Declare;
  readonly makeHarness: (t: ExecutionContext) => Promise<HostHarness>;
}

export function hostContract({ adapter, declare, makeHarness }: HostContractOptions): void {
  const check = (statement: string, body: (t: ExecutionContext, harness: HostHarness) => Promise<void>) =>
    declare(`${adapter}: ${statement}`, async (t) => body(t, await makeHarness(t)));
  devices(check);
  identities(check);
  mounts(check);
  removals(check);
  fences(check);
  otherStores(check);
  gone(check);
  reports(check);
}

type Check = (statement: string, body: (t: ExecutionContext, harness: HostHarness) => Promise<void>) => void;

function devices(check: Check): void {
  check('attach answers a proved device, and the same one again', async (t, harness) => {
    const target = harness.makeTarget();
    const device = await harness.host.attach(target);
    t.deepEqual(await harness.host.attach(target), device);
    t.like(device.proof, { kind: 'present', device: device.path, volumeId: target.volumeId, mediaGeneration: 1 });
    t.is((await harness.host.inventory()).devices.length, 1);
  });

  check('attach calls at the same time make one device', async (t, harness) => {
    const target = harness.makeTarget();
    const found = await Promise.all(Array.from({ length: 8 }, () => harness.host.attach(target)));
    t.is(new Set(found.map((device) => device.path)).size, 1);
    t.is((await harness.host.inventory()).devices.length, 1);
  });

  check('a host that was restarted finds the device that is there', async (t, harness) => {
    const target = harness.makeTarget();
    const device = await harness.host.attach(target);
    const restarted = await harness.restart();
    t.deepEqual(await restarted.attach(target), device);
    t.is((await restarted.inventory()).devices.length, 1);
  });

  check('many volumes are attached and detached at the same time', async (t, harness) => {
    const targets = Array.from({ length: 12 }, () => harness.makeTarget());
    const found = await Promise.all(targets.map((target) => harness.host.attach(target)));
    t.is(new Set(found.map((device) => device.path)).size, 12);
    await Promise.all(targets.map((target) => harness.host.detach(target)));
    t.deepEqual((await harness.host.inventory()).devices, []);
  });
}

function identities(check: Check): void {
  check('a path that leads to another medium is refused', async (t, harness) => {
    const [target, other] = [harness.makeTarget(), harness.makeTarget()];
    harness.redirectPaths(target, other);
    await refused(t, 'identity-mismatch', () => harness.host.attach(target));
    t.deepEqual((await harness.host.inventory()).devices, []);
  });

  check('a path that leads to another generation of the volume is refused', async (t, harness) => {
    const target = harness.makeTarget();
    harness.nextOwner(target);
    await refused(t, 'identity-mismatch', () => harness.host.attach(target));
  });

  check('paths that lead to different media are refused', async (t, harness) => {
    const [one, two] = [harness.makeTarget(), harness.makeTarget()];
    const paths = [...one.paths, ...two.paths];
    await refused(t, 'identity-mismatch', () => harness.host.attach({ ...one, paths }));
  });

  check('a path that leads nowhere is a device error', async (t, harness) => {
    const target = harness.makeTarget();
    harness.unexport(target);
    await refused(t, 'device-error', () => harness.host.attach(target));
  });

  check('a target without paths is unreachable', async (t, harness) => {
    const target = harness.makeTarget({ paths: [] });
    await refused(t, 'host-unreachable-paths', () => harness.host.attach(target));
  });

  check('the device of another volume is not formatted or mounted', async (t, harness) => {
    const [target, other] = [harness.makeTarget(), harness.makeTarget()];
    await harness.host.attach(target);
    const wrong = await harness.host.attach(other);
    const path = harness.mountPath('wrong');
    await refused(t, 'identity-mismatch', () => harness.host.format(wrong, target, 'ext4'));
    await refused(t, 'identity-mismatch', () => harness.host.mount(wrong, target, at(path)));
    t.deepEqual(await ownMounts(harness.host), []);
  });

  check("the next owner does not see the last one's files", async (t, harness) => {
    const first = harness.makeTarget();
    const path = harness.mountPath('owned');
    await attachAndMount(harness, first, path);
    writeFileSync(join(path, 'secret'), 'of the first owner');
    await harness.host.detach(first);
    const second = harness.nextOwner(first);
    await attachAndMount(harness, second, path);
    t.deepEqual(readdirSync(path), []);
  });
}

function mounts(check: Check): void {
  check('what is written is there after detach and attach', async (t, harness) => {
    const target = harness.makeTarget();
    const path = harness.mountPath('data');
    await attachAndMount(harness, target, path);
    t.deepEqual(readdirSync(path), []);
    writeFileSync(join(path, 'file'), 'content');
    await harness.host.unmount(path);
    t.deepEqual(readdirSync(path), []);
    await harness.host.detach(target);
    const device = await harness.host.attach(target);
    await harness.host.mount(device, target, at(path));
    t.is(readFileSync(join(path, 'file'), 'utf8'), 'content');
  });

  check('mounting again changes nothing', async (t, harness) => {
    const target = harness.makeTarget();
    const path = harness.mountPath('again');
    const device = await attachAndMount(harness, target, path);
    await harness.host.mount(device, target, at(path));
    t.deepEqual(await ownMounts(harness.host), [
      { device: device.path, volumeId: target.volumeId, path, foreignNamespace: false },
    ]);
    await harness.host.unmount(path);
    t.deepEqual(await ownMounts(harness.host), []);
  });

  check('one volume is shown at two paths, and unmounting one leaves the other', async (t, harness) => {
    const target = harness.makeTarget();
    const [one, two] = [harness.mountPath('one'), harness.mountPath('two')];
    const device = await attachAndMount(harness, target, one);
    await harness.host.mount(device, target, at(two));
    writeFileSync(join(one, 'file'), 'content');
    await harness.host.unmount(one);
    t.is(readFileSync(join(two, 'file'), 'utf8'), 'content');
  });

  check('a path that is not empty is refused and left alone', async (t, harness) => {
    const target = harness.makeTarget();
    const path = harness.mountPath('taken');
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, 'precious'), 'bytes');
    const device = await harness.host.attach(target);
    await harness.host.format(device, target, 'ext4');
    await refused(t, 'mount-path-busy', () => harness.host.mount(device, target, at(path)));
    t.deepEqual(readdirSync(path), ['precious']);
  });

  check(
    'a path that is a file, or where no directory can be made, is refused by its name and left alone',
    async (t, harness) => {
      const target = harness.makeTarget();
      const file = harness.mountPath('file');
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, 'bytes');
      const device = await harness.host.attach(target);
      await harness.host.format(device, target, 'ext4');
      const refusedPath = async (code: ErrorCode, path: string) => {
        const { problem } = await refused(t, code, () => harness.host.mount(device, target, at(path)));
        t.is(problem.field, 'path');
        t.true(
          problem.detail.includes(path) && problem.detail.includes('accepted: an empty directory'),
          problem.detail,
        );
      };
      await refusedPath('mount-path-busy', file);
      await refusedPath('invalid-request', join(file, 'below'));
      await refusedPath('invalid-request', '/proc/self/no-directory/here');
      t.is(readFileSync(file, 'utf8'), 'bytes');
    },
  );

  check('a path that shows another volume is refused', async (t, harness) => {
    const [one, two] = [harness.makeTarget(), harness.makeTarget()];
    const path = harness.mountPath('shared');
    await attachAndMount(harness, one, path);
    const device = await harness.host.attach(two);
    await harness.host.format(device, two, 'ext4');
    await refused(t, 'mount-path-busy', () => harness.host.mount(device, two, at(path)));
  });

  check('unmounting what is not mounted succeeds', async (t, harness) => {
    const path = harness.mountPath('nothing');
    await t.notThrowsAsync(harness.host.unmount(path));
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, 'file'), 'content');
    await harness.host.unmount(path);
    t.deepEqual(readdirSync(path), ['file']);
  });
}

function removals(check: Check): void {
  check('detach unmounts what is left and proves that the device is gone', async (t, harness) => {
    const target = harness.makeTarget();
    const path = harness.mountPath('left');
    await attachAndMount(harness, target, path);
    const proof = await harness.host.detach(target);
    t.like(proof, { kind: 'gone', device: null, volumeId: target.volumeId, mediaGeneration: 1 });
    t.deepEqual((await harness.host.inventory()).devices, []);
    t.deepEqual(await ownMounts(harness.host), []);
  });

  check('detach of what is not there succeeds, as does a second one', async (t, harness) => {
    const target = harness.makeTarget();
    t.is((await harness.host.detach(target)).kind, 'gone');
    await harness.host.attach(target);
    await harness.host.detach(target);
    harness.unexport(target);
    t.is((await harness.host.detach(target)).kind, 'gone');
  });

  check('detach after a restart removes device and mounts, exported or not', async (t, harness) => {
    const target = harness.makeTarget();
    await attachAndMount(harness, target, harness.mountPath('forgotten'));
    harness.unexport(target);
    const restarted = await harness.restart();
    t.is((await restarted.detach(target)).kind, 'gone');
    t.deepEqual((await restarted.inventory()).devices, []);
    t.deepEqual(await ownMounts(restarted), []);
  });

  check('a device that another mount namespace holds is busy until that ends', async (t, harness) => {
    const target = harness.makeTarget();
    const path = harness.mountPath('held');
    await attachAndMount(harness, target, path);
    const release = await harness.holdElsewhere(target, path);
    await refused(t, 'device-busy', () => harness.host.detach(target));
    const { devices, mounts } = await harness.host.inventory();
    t.is(devices.length, 1);
    t.true(mounts.length > 0);
    t.true(mounts.every((mount) => mount.foreignNamespace && mount.volumeId === target.volumeId));
    await release();
    t.is((await detachAtLast(harness.host, target)).kind, 'gone');
  });
}

function fences(check: Check): void {
  check('an older epoch is refused once a newer one was seen, also after a restart', async (t, harness) => {
    const older = harness.makeTarget();
    const newer = { ...older, epoch: 2 };
    const device = await harness.host.attach(newer);
    const refusals = async () => {
      await refused(t, 'stale-epoch', () => harness.host.attach(older));
      await refused(t, 'stale-epoch', () => harness.host.format(device, older, 'ext4'));
      await refused(t, 'stale-epoch', () => harness.host.mount(device, older, at(harness.mountPath('stale'))));
      await refused(t, 'stale-epoch', () => harness.host.detach(older));
    };
    await refusals();
    await harness.restart();
    await refusals();
    t.is(harness.host.servedEpoch(newer.volumeId), 2);
    t.is(harness.host.servedEpoch(harness.makeTarget().volumeId), 0);
    t.deepEqual(await harness.host.attach(newer), device);
  });
}

function otherStores(check: Check): void {
  check('epochs that are forgotten are forgotten for good: a lower one is a first one', async (t, harness) => {
    const target = harness.makeTarget();
    const device = await harness.host.attach({ ...target, epoch: 7 });
    await harness.host.forgetEpochs();
    await harness.restart();
    t.is(harness.host.servedEpoch(target.volumeId), 0);
    t.deepEqual(await harness.host.attach(target), device);
  });
}

function gone(check: Check): void {
  check('the epochs of volumes that are no more are forgotten, and those of others kept', async (t, harness) => {
    const [kept, other] = [harness.makeTarget(), harness.makeTarget()];
    for (const target of [kept, other]) await harness.host.attach({ ...target, epoch: 7 });
    t.deepEqual([...harness.host.servedVolumes()], [kept.volumeId, other.volumeId]);
    await harness.host.forgetEpochs([other.volumeId]);
    await harness.restart();
    t.deepEqual([...harness.host.servedVolumes()], [kept.volumeId]);
    await refused(t, 'stale-epoch', () => harness.host.attach(kept));
    t.is(harness.host.servedEpoch(other.volumeId), 0);
  });
}

function reports(check: Check): void {
  check('the inventory carries the boot id and a sequence that rises over restarts', async (t, harness) => {
    const [identity, first] = [await harness.host.identity(), await harness.host.inventory()];
    const second = await (await harness.restart()).inventory();
    t.is(first.bootId, identity.bootId);
    t.is(second.bootId, identity.bootId);
    t.true(second.sequence > first.sequence);
  });

  check('a port is found, the same one each time', async (t, harness) => {
    const ports = await harness.host.discoverPorts();
    t.true(ports.length > 0);
    t.deepEqual(await (await harness.restart()).discoverPorts(), ports);
  });
}

export function at(path: string): MountOptions {
  return { path, filesystem: 'ext4', readOnly: false };
}

export async function attachAndMount(harness: HostHarness, target: DeviceTarget, path: string): Promise<Device> {
  const device = await harness.host.attach(target);
  await harness.host.format(device, target, 'ext4');
  await harness.host.mount(device, target, at(path));
  return device;
}

export async function refused(t: ExecutionContext, code: ErrorCode, call: () => Promise<unknown>): Promise<Failure> {
  const failure = await t.throwsAsync(call, { instanceOf: Failure });
  t.is(failure?.code, code, failure?.message);
  return failure ?? new Failure('internal', 'nothing was thrown');
}
