import test from 'ava';
import fc from 'fast-check';
import { limits } from '../../src/config/limits.ts';
import { formatByteCount, parseByteCount, parseFormattedSize, parseVolumeSize } from '../../src/domain/byte-count.ts';
import { Failure } from '../../src/domain/errors.ts';

const gib = 1024 ** 3;

const accepted: readonly (readonly [unknown, number])[] = [
  [1_073_741_824, gib],
  ['1073741824', gib],
  ['10GB', 10_000_000_000],
  ['10GiB', 10 * gib],
  ['10Gi', 10 * gib],
  ['10G', 10 * gib],
  ['10g', 10 * gib],
  ['1.5GiB', 1.5 * gib],
  ['512 MiB', 512 * 1024 ** 2],
  ['1kB', 1000],
  ['1k', 1024],
  ['7B', 7],
  ['2tib', 2 * 1024 ** 4],
  ['0.1KiB', 103],
];
for (const [value, bytes] of accepted) {
  test(`${JSON.stringify(value)} is ${bytes} bytes`, (t) => {
    t.is(parseByteCount(value), bytes);
  });
}

for (const value of [
  '',
  'GiB',
  '-1',
  '1e9',
  '1.',
  '.5G',
  '1iB',
  '1Gib ytes',
  '10GiBs',
  '99999999PiB',
  1.5,
  -1,
  0,
  Number.NaN,
  Infinity,
  null,
  {},
]) {
  test(`${String(value) || 'an empty text'} (${typeof value}) is refused as a size`, (t) => {
    const error = t.throws(() => parseByteCount(value, 'volumeSizeBytes'), { instanceOf: Failure });
    t.is(error.code, 'invalid-size');
    t.is(error.problem.field, 'volumeSizeBytes');
    t.true(error.message.startsWith('volumeSizeBytes: '));
  });
}

test('a size outside the bounds names the bound', (t) => {
  t.is(parseVolumeSize(limits.volumeBytesMin), limits.volumeBytesMin);
  t.is(parseVolumeSize(limits.volumeBytesMax), limits.volumeBytesMax);
  t.regex(t.throws(() => parseVolumeSize(limits.volumeBytesMin - 1)).message, /at least 16MiB/);
  t.regex(t.throws(() => parseVolumeSize(limits.volumeBytesMax + 1)).message, /at most 64TiB/);
});

test('a volume is never smaller than what was asked for: its size is whole sectors of a block device', (t) => {
  const least = limits.volumeBytesMin;
  t.is(parseVolumeSize(least + 1), least + 512);
  t.is(parseVolumeSize(least + 512), least + 512);
  t.is(parseVolumeSize('20000001'), 20_000_256);
  t.is(parseFormattedSize(limits.xfsBytesMin + 1, 'size', 'xfs'), limits.xfsBytesMin + 512);
  t.regex(t.throws(() => parseFormattedSize(limits.xfsBytesMin - 512, 'size', 'xfs')).message, /xfs at least 300MiB/);
});

test('every number of bytes survives its own digits', (t) => {
  t.notThrows(() =>
    fc.assert(fc.property(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), (n) => parseByteCount(`${n}`) === n)),
  );
});

test('what is shown is read again within a hundredth of it', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 ** 50 }),
        (n) => Math.abs(parseByteCount(formatByteCount(n)) - n) <= n / 100 + 1,
      ),
    ),
  );
  t.is(formatByteCount(10 * gib), '10GiB');
  t.is(formatByteCount(1.5 * gib), '1.5GiB');
  t.is(formatByteCount(0), '0B');
});
