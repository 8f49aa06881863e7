import test from 'ava';
import { parseMountTable } from '../../src/host/linux/mount-table.ts';
import { deviceIdOf, loopNumberOf } from '../../src/host/linux/mounts.ts';

test('a mountinfo line gives device, path and whether it is read-only', (t) => {
  const text = [
    '22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw',
    '42 27 7:3 /data /mnt/with\\040space\\134 ro,nosuid,nodev,relatime - ext4 /dev/loop3 rw',
    '',
  ].join('\n');
  t.deepEqual(parseMountTable(text), [
    { device: '254:0', mountPoint: '/', readOnly: false, peerGroup: 1, master: null },
    { device: '7:3', mountPoint: '/mnt/with space\\', readOnly: true, peerGroup: null, master: null },
  ]);
});

test('a mountinfo line gives the peer group that the mount is in and the one that it follows', (t) => {
  const follower = '50 48 7:3 /data /mnt rw shared:12 master:7 propagate_from:2 - ext4 /dev/loop3 rw';
  t.like(parseMountTable(follower), [{ peerGroup: 12, master: 7 }]);
  const behindTheFields = '51 48 7:3 /data /mnt rw - ext4 shared:4 master:5';
  t.like(parseMountTable(behindTheFields), [{ peerGroup: null, master: null }]);
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
