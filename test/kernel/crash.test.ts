/**
 * The product killed at any moment under a mixed load on real devices, and its machine switched off; after each restart
 * everything that it promised is held against what its clients wrote down.
 */
import type { ExecutionContext } from 'ava';
import { plantedBugNames, plantedBugs } from '../crash/planted/bugs.ts';
import { PowerCut } from '../crash/power-cut.ts';
import { type RoundsOptions, type RoundsReport, runRounds } from '../crash/rounds.ts';
import { testProgram } from '../crash/service.ts';
import { testOf } from '../support/groups.ts';
import { requireKernel } from '../support/linux-host-harness.ts';

const test = testOf('kernel');
const killRounds = 20;
const cutRounds = 5;
const plantedRoundsMax = 12;
const answersUntilPlantedShows = 250;
const roundTimeoutMs = 90_000;

async function rounds(t: ExecutionContext, options: RoundsOptions): Promise<RoundsReport> {
  requireKernel();
  const onRound = () => t.timeout(roundTimeoutMs);
  onRound();
  return await runRounds({ ...options, onRound });
}

function described({ seed, complaints, logTail }: RoundsReport): string {
  const lines = complaints.map(({ round, code, detail }) => `round ${round}: ${code}: ${detail}`);
  return [`seed ${seed}`, ...lines, logTail].join('\n');
}

test.serial('hazards 1 to 19: killed at 20 seeded moments, it keeps every promise', async (t) => {
  const report = await rounds(t, { seed: 20, rounds: killRounds });
  t.is(report.complaints.length, 0, described(report));
  t.is(report.rounds, killRounds);
  t.true(report.acknowledged > killRounds && report.checks > killRounds);
  t.true(report.killsByPhase.size > 1, 'kills fall into more than one phase');
});

test.serial('hazards 17 and 19: switched off at seeded moments, it keeps every promise', async (t) => {
  const report = await rounds(t, { seed: 5, rounds: cutRounds, strike: new PowerCut(), program: [testProgram] });
  t.is(report.complaints.length, 0, described(report));
  t.is(report.rounds, cutRounds);
});

for (const name of plantedBugNames) {
  const { about, expected, cut } = plantedBugs[name];
  test.serial(`the checker finds a planted bug: ${about}`, async (t) => {
    const report = await rounds(t, {
      seed: 3,
      rounds: plantedRoundsMax,
      stopAt: expected,
      answersBeforeKill: answersUntilPlantedShows,
      program: [testProgram, name],
      ...(cut ? { strike: new PowerCut() } : {}),
    });
    const codes = report.complaints.map(({ code }) => code);
    t.true(
      codes.some((code) => expected.includes(code)),
      described(report),
    );
  });
}
