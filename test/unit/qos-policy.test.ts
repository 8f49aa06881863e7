import test from 'ava';
import fc from 'fast-check';
import { limits } from '../../src/config/limits.ts';
import { Failure } from '../../src/domain/errors.ts';
import { parseQosLimits, type QosLimitsStated } from '../../src/domain/qos.ts';

test('a policy that states nothing limits nothing', (t) => {
  t.deepEqual(parseQosLimits({}), {
    maxIopsPerContainer: null,
    maxBandwidthPerContainer: null,
    maxTotalIops: null,
    maxTotalBandwidth: null,
    minIopsPerContainer: null,
    weight: 100,
    allowBursting: false,
    burstIops: null,
    burstDurationSeconds: 10,
    sharing: 'max-min',
  });
});

test('bursting defaults to twice the rate of the container', (t) => {
  t.is(parseQosLimits({ maxIopsPerContainer: 500, allowBursting: true }).burstIops, 1000);
  t.is(parseQosLimits({ allowBursting: true }).burstIops, null);
  t.true(parseQosLimits({ maxIopsPerContainer: 500, burstIops: 600 }).allowBursting);
});

test('a bandwidth may be written as a size', (t) => {
  t.is(parseQosLimits({ maxTotalBandwidth: '50MB' }).maxTotalBandwidth, 50_000_000);
});

const refused: readonly (readonly [string, string, QosLimitsStated])[] = [
  ['a rate of zero', 'maxIopsPerContainer', { maxIopsPerContainer: 0 }],
  ['a negative rate', 'maxTotalIops', { maxTotalIops: -1 }],
  ['a fraction', 'weight', { weight: 1.5 }],
  ['a weight above the scale', 'weight', { weight: 10_001 }],
  ['a bandwidth of zero', 'maxTotalBandwidth', { maxTotalBandwidth: 0 }],
  ['a minimum above the maximum', 'minIopsPerContainer', { minIopsPerContainer: 2, maxIopsPerContainer: 1 }],
  ['a minimum above the total', 'minIopsPerContainer', { minIopsPerContainer: 2, maxTotalIops: 1 }],
  ['a burst below the rate', 'burstIops', { maxIopsPerContainer: 10, burstIops: 9 }],
  ['a burst over nothing', 'burstIops', { burstIops: 9 }],
  ['a burst that is not allowed', 'burstIops', { maxIopsPerContainer: 1, burstIops: 9, allowBursting: false }],
  ['a burst without an end', 'burstDurationSeconds', { burstDurationSeconds: 3601 }],
];
for (const [what, field, stated] of refused) {
  test(`${what} is refused, and ${field} is named`, (t) => {
    const error = t.throws(() => parseQosLimits(stated), { instanceOf: Failure });
    t.is(error.problem.field, field);
    t.true(error.message.startsWith(`${field}: `));
  });
}

test('whatever is accepted is consistent, and accepted again as it is', (t) => {
  const rate = fc.option(fc.integer({ min: -1, max: 1000 }));
  const stated = fc.record({
    maxIopsPerContainer: rate,
    maxTotalIops: rate,
    minIopsPerContainer: rate,
    burstIops: rate,
    allowBursting: fc.option(fc.boolean()),
    weight: fc.option(fc.integer({ min: 0, max: limits.qosWeightMax + 1 })),
  });
  t.notThrows(() =>
    fc.assert(
      fc.property(stated, (policy) => {
        const parsed = acceptedOrNull(policy);
        if (parsed === null) return true;
        const { minIopsPerContainer: min, maxIopsPerContainer: max, burstIops: burst } = parsed;
        const ordered = (min ?? 0) <= (max ?? Infinity) && (burst === null || (max !== null && max <= burst));
        return ordered && JSON.stringify(parseQosLimits(parsed)) === JSON.stringify(parsed);
      }),
    ),
  );
});

function acceptedOrNull(stated: QosLimitsStated): ReturnType<typeof parseQosLimits> | null {
  try {
    return parseQosLimits(stated);
  } catch (error) {
    if (error instanceof Failure) return null;
    throw error;
  }
}
