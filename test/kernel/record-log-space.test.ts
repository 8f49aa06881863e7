/** What an append-only log does on a filesystem that is nearly full. */
import { execFileSync } from 'node:child_process';
import { statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../../src/domain/errors.ts';
import { HighWaterLog } from '../../src/system/high-water-log.ts';
import { testOf } from '../support/groups.ts';
import { openLocalNode, scratchDirectory } from '../support/local-storage-node.ts';

const test = testOf('kernel').serial;

test('a record that fits is taken though nothing can be written ahead, and one that does not damages nothing', async (t) => {
  const directory = await scratchDirectory(t);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', directory]);
  t.teardown(() => execFileSync('umount', ['--lazy', directory]));
  const path = join(directory, 'marks.log');
  const log = await HighWaterLog.open(path);
  await log.raise([{ key: 'a', value: 1 }]);
  await log.raise([{ key: 'b', value: 2 }]);
  const tooLong = 'x'.repeat(statfsSync(directory).bsize * statfsSync(directory).blocks);
  const refused = await t.throwsAsync(log.raise([{ key: tooLong, value: 3 }]), { instanceOf: Failure });
  t.is(refused?.code, 'out-of-space');
  t.is(refused?.message, 'The disk is full: marks.log could not be written.');
  await log.raise([{ key: 'c', value: 3 }]);
  await log.close();
  const again = await HighWaterLog.open(path);
  t.deepEqual([again.get('a'), again.get('b'), again.get('c'), again.size], [1, 2, 3, 3]);
  await again.close();
});

test('a fence for which there is no space is told as that, and nothing has been done', async (t) => {
  const directory = await scratchDirectory(t);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', directory]);
  t.teardown(() => execFileSync('umount', ['--lazy', directory]));
  const volumes = await scratchDirectory(t);
  const node = await openLocalNode(directory, { file: { directory: volumes } });
  t.teardown(() => node.close());
  const { bavail, bsize } = statfsSync(directory);
  writeFileSync(join(directory, 'fill'), Buffer.alloc(bavail * bsize));
  const medium = { volumeId: 'vol_a', backend: 'file', generation: 1, mediaGeneration: 1 };
  const [result] = await node.provision([{ ...medium, sizeBytes: 16 * 1024 * 1024, filesystem: 'ext4' }]);
  t.like(result, { ok: false, problem: { code: 'out-of-space' } });
  t.deepEqual((await node.inventory()).media, []);
});
