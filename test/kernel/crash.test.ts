/**
 * The product killed at any moment under a mixed load on real devices; after each restart everything that it promised is
 * held against what its clients wrote down.
 */
import { described, roundsOf } from '../crash/gate.ts';
import { testOf } from '../support/groups.ts';

const test = testOf('kernel');
const rounds = 20;

test('hazards 1 to 19: killed at 20 seeded moments, it keeps every promise', async (t) => {
  const report = await roundsOf(t, { seed: 20, rounds });
  t.is(report.complaints.length, 0, described(report));
  t.is(report.rounds, rounds);
  t.true(report.acknowledged > rounds && report.checks > rounds, 'there was a load, and it was checked');
  t.true(report.killsByPhase.size > 2, 'kills fall into more than two phases');
});
