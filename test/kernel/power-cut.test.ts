/** The machine switched off under a mixed load: what its disk held at that moment is what the product starts on. */
import { described, roundsOf } from '../crash/gate.ts';
import { PowerCut } from '../crash/power-cut.ts';
import { testProgram } from '../crash/service.ts';
import { testOf } from '../support/groups.ts';

const test = testOf('kernel');
const rounds = 8;

test('hazards 16, 17 and 19: switched off at seeded moments, it keeps every promise', async (t) => {
  const report = await roundsOf(t, { seed: 5, rounds, strike: new PowerCut(), program: [testProgram] });
  t.is(report.complaints.length, 0, described(report));
  t.is(report.rounds, rounds);
  t.true(report.acknowledged > rounds && report.checks > rounds, 'there was a load, and it was checked');
});
