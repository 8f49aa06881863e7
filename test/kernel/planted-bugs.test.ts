/** A checker that never complains proves nothing: each bug that is planted has to be found, by its own complaint. */
import { described, roundsOf } from '../crash/gate.ts';
import { plantedBugNames, plantedBugs } from '../crash/planted/bugs.ts';
import { PowerCut } from '../crash/power-cut.ts';
import { testProgram } from '../crash/service.ts';
import { testOf } from '../support/groups.ts';

const test = testOf('kernel');
const roundsMax = 12;
const answersBeforeKill = 250;

for (const name of plantedBugNames) {
  const { about, expected, cut, held } = plantedBugs[name];
  test.serial(`the crash checker finds a planted bug: ${about}`, async (t) => {
    const report = await roundsOf(t, {
      seed: 3,
      rounds: roundsMax,
      answersBeforeKill,
      stopAt: expected,
      program: [testProgram, name],
      ...(cut === true ? { strike: new PowerCut() } : {}),
      ...(held === true ? { containerChance: 1 } : {}),
    });
    const isFound = report.complaints.some(({ code }) => expected.includes(code));
    t.true(isFound, described(report));
  });
}
