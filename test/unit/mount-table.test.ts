import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { mountsEverywhere, parseMountTable } from '../../src/host/linux/mount-table.ts';
import { deviceIdOf, loopNumberOf } from '../../src/host/linux/mounts.ts';
import { scratchDirectory } from '../support/local-storage-node.ts';

test('a mountinfo line gives device, path and whether it is read-only', (t) => {
  const text = [
    '22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw',
    '42 27 7:3 /data /mnt/with\\040space\\134 ro,nosuid,nodev,relatime - ext4 /dev/loop3 rw',
    '',
  ].join('\n');
  t.deepEqual(parseMountTable(text), [
    { id: 22, parent: 1, device: '254:0', mountPoint: '/', readOnly: false, peerGroup: 1, master: null },
    {
      id: 42,
      parent: 27,
      device: '7:3',
      mountPoint: '/mnt/with space\\',
      readOnly: true,
      peerGroup: null,
      master: null,
    },
  ]);
});

test('a mountinfo line gives the peer group that the mount is in and the one that it follows', (t) => {
  const follower = '50 48 7:3 /data /mnt rw shared:12 master:7 propagate_from:2 - ext4 /dev/loop3 rw';
  t.like(parseMountTable(follower), [{ peerGroup: 12, master: 7 }]);
  const behindTheFields = '51 48 7:3 /data /mnt rw - ext4 shared:4 master:5';
  t.like(parseMountTable(behindTheFields), [{ peerGroup: null, master: null }]);
});

test('a copy goes with our mount if it follows ours and stands on what follows ours, wherever that is', async (t) => {
  const root = await scratchDirectory(t);
  const ours = ['1 0 254:0 / / rw shared:1 - ext4 /dev/vda rw', '2 1 7:3 /data /v rw shared:9 - ext4 /dev/loop3 rw'];
  const tables: Readonly<Record<string, readonly string[]>> = {
    self: ours,
    // A service; and a container that watches the machine below /host.
    11: ['5 0 254:0 / / rw shared:4 master:1 - ext4 / rw', '6 5 7:3 /data /v rw shared:5 master:9 - ext4 / rw'],
    12: ['7 0 254:0 / /host rw master:1 - ext4 / rw', '8 7 7:3 /data /host/v rw master:9 - ext4 / rw'],
    // Containers with the volume itself: as Docker binds it, and following it.
    13: ['7 0 0:9 / / rw - overlay o rw', '8 7 7:3 /data /v rw - ext4 / rw'],
    14: ['7 0 0:9 / / rw - overlay o rw', '8 7 7:3 /data /v rw master:9 - ext4 / rw'],
    // It follows another than ours.
    15: ['5 0 254:0 / / rw master:1 - ext4 / rw', '6 5 7:3 /data /v rw master:5 - ext4 / rw'],
  };
  for (const [process, lines] of Object.entries(tables)) {
    await mkdir(join(root, 'proc', process, 'ns'), { recursive: true });
    await symlink(`mnt:[${process}]`, join(root, 'proc', process, 'ns/mnt'));
    await writeFile(join(root, 'proc', process, 'mountinfo'), `${lines.join('\n')}\n`);
  }
  const foreign = mountsEverywhere(root, new Set(['7:3'])).filter((mount) => mount.foreignNamespace);
  t.deepEqual(Object.fromEntries(foreign.map(({ pid, isPropagated }) => [pid, isPropagated])), {
    ...{ 11: true, 12: true },
    ...{ 13: false, 14: false, 15: false },
  });
});

test('a loop device is recognised by the number of the filesystem on it, above 255 too', (t) => {
  t.is(deviceIdOf(3), 0x703);
  t.is(deviceIdOf(1000), 0x3007e8);
  t.deepEqual(
    [0, 255, 256, 1000, 1_048_575].map((number) => loopNumberOf(deviceIdOf(number))),
    [0, 255, 256, 1000, 1_048_575],
  );
  t.is(loopNumberOf(0xfe00), null);
});
