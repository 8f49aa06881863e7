/** What an append-only log does on a filesystem that is nearly full. */
import { execFileSync } from 'node:child_process';
import { statfsSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../../src/domain/errors.ts';
import { HighWaterLog } from '../../src/system/high-water-log.ts';
import { testOf } from '../support/groups.ts';
import { scratchDirectory } from '../support/local-storage-node.ts';

const test = testOf('kernel').serial;

test('a record that fits is taken though nothing can be written ahead, and one that does not damages nothing', async (t) => {
  const directory = await scratchDirectory(t);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', directory]);
  t.teardown(() => execFileSync('umount', [directory]));
  const path = join(directory, 'marks.log');
  const log = await HighWaterLog.open(path);
  await log.raise([{ key: 'a', value: 1 }]);
  await log.raise([{ key: 'b', value: 2 }]);
  const tooLong = 'x'.repeat(statfsSync(directory).bsize * statfsSync(directory).blocks);
  const refused = await t.throwsAsync(log.raise([{ key: tooLong, value: 3 }]), { instanceOf: Failure });
  t.is(refused?.code, 'device-error');
  await log.raise([{ key: 'c', value: 3 }]);
  await log.close();
  const again = await HighWaterLog.open(path);
  t.deepEqual([again.get('a'), again.get('b'), again.get('c'), again.size], [1, 2, 3, 3]);
  await again.close();
});
