import test from 'ava';
import { bench } from '../../bench/operations.ts';
import { parseOptions } from '../../bench/support/bench.ts';
import { missed } from '../../bench/support/figures.ts';

const figures = { ratio: 0.5, operationsPerSecond: 8_000, batchGain: 12, lost: 0, errors: 0 };
const missedWith = (...words: readonly string[]) => missed(figures, bench.bounds(parseOptions(bench, words)));

test('what is asked of a rate depends on where the truth is kept', (t) => {
  t.deepEqual(missedWith(), ['operationsPerSecond']);
  t.deepEqual(missedWith('--store', 'postgres', '--queue', 'bullmq'), []);
});

test('nothing is asked of what was not measured', (t) => {
  const { batchGain: _gain, ...most } = figures;
  const measured = { ...most, operationsPerSecond: 10_000 };
  t.deepEqual(missed(measured, bench.bounds(parseOptions(bench, ['--gain', 'no']))), []);
  t.deepEqual(missed(measured, bench.bounds(parseOptions(bench, []))), ['batchGain']);
});
