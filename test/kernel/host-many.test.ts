/** A host with a thousand volumes at once: every one attached and mounted, every one taken down, nothing left. */
import { closeSync, ftruncateSync, openSync, readdirSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { DeviceTarget } from '../../src/host/host.ts';
import { at } from '../contract/host-contract.ts';
import { testOf } from '../support/groups.ts';
import { detachAtLast, ownMounts } from '../support/host-harness.ts';
import { LinuxHostHarness } from '../support/linux-host-harness.ts';

const test = testOf('kernel').serial;
const volumes = 1_000;
const sizeBytes = 16 * 1024 * 1024;
const chunkBytes = 4_096;

test('a thousand volumes are attached and mounted at once, found again after a restart, and all removed', async (t) => {
  t.timeout(600_000);
  const harness = await LinuxHostHarness.make(t);
  const image = await formattedImage(harness);
  const targets = Array.from({ length: volumes }, () => harness.makeTarget({ sizeBytes }));
  for (const target of targets) fill(harness.media.fileOf(target), image);
  await Promise.all(targets.map((target) => attachAndMark(harness, target)));
  t.is(harness.loopDevices().length, volumes);
  const host = await harness.restart();
  const { devices } = await host.inventory();
  t.deepEqual([devices.length, (await ownMounts(host)).length], [volumes, volumes]);
  t.deepEqual(
    targets.filter((target) => ownMark(harness, target) !== target.volumeId),
    [],
  );
  await Promise.all(targets.map((target) => detachAtLast(host, target)));
  t.deepEqual([harness.loopDevices(), harness.mountPoints()], [[], []]);
  t.deepEqual(readdirSync(join(harness.directory, 'state', 'mnt')), []);
});

async function attachAndMark(harness: LinuxHostHarness, target: DeviceTarget): Promise<void> {
  const device = await harness.host.attach(target);
  const path = harness.mountPath(target.volumeId);
  await harness.host.mount(device, target, at(path));
  writeFileSync(join(path, 'mark'), target.volumeId);
}

function ownMark(harness: LinuxHostHarness, target: DeviceTarget): string {
  return readFileSync(join(harness.mountPath(target.volumeId), 'mark'), 'utf8');
}

/** One medium that the host formatted: what every other one starts with. */
async function formattedImage(harness: LinuxHostHarness): Promise<Buffer> {
  const target = harness.makeTarget({ sizeBytes });
  const device = await harness.host.attach(target);
  await harness.host.format(device, target, 'ext4');
  await harness.host.detach(target);
  return readFileSync(harness.media.fileOf(target));
}

/** Only what is not zero, so that the file stays sparse. */
function fill(path: string, image: Buffer): void {
  const zeroes = Buffer.alloc(chunkBytes);
  const descriptor = openSync(path, 'r+');
  for (let offset = 0; offset < image.length; offset += chunkBytes) {
    const chunk = image.subarray(offset, offset + chunkBytes);
    if (!chunk.equals(zeroes)) writeSync(descriptor, chunk, 0, chunk.length, offset);
  }
  ftruncateSync(descriptor, image.length);
  closeSync(descriptor);
}
