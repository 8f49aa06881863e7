import { constants } from 'node:os';
import test from 'ava';
import { problemOfMedium } from '../../src/backends/file/medium-problem.ts';
import { SystemCallError } from '../../src/system/system-call-error.ts';

for (const [errno, code] of [
  ['EFBIG', 'no-pool-fits'],
  ['ENOSPC', 'out-of-space'],
  ['EDQUOT', 'out-of-space'],
  ['EIO', 'device-error'],
  ['EROFS', 'storage-failed'],
  ['EMFILE', 'storage-failed'],
] as const) {
  test(`${errno} of a medium is ${code}`, (t) => {
    const error = new SystemCallError('ftruncate', constants.errno[errno]);
    t.is(problemOfMedium(error, 'vol_1').code, code);
  });
}

test('where there is no space, whoever asked for the volume is not told paths', (t) => {
  const error = Object.assign(new Error("ENOSPC: no space left on device, open '/somewhere/vol_1.2.img'"), {
    code: 'ENOSPC',
  });
  t.is(problemOfMedium(error, 'vol_1').detail, 'There is no space for volume vol_1 on the storage node.');
});

test('a volume larger than any file can be is told by its field and what is accepted', (t) => {
  const { field, detail } = problemOfMedium(new SystemCallError('ftruncate', constants.errno.EFBIG), 'vol_1');
  t.is(field, 'sizeBytes');
  t.regex(detail, /accepted: less/);
});
