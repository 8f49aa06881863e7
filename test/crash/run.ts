/**
 * `npm run crash -- --rounds 200 --seed 1`: kills, restarts and checks, and says what was found; `--power-cut` takes the
 * disk's content of a moment instead. Ends at the first complaint, unless told to `--keep-going`.
 */
import { parseArgs } from 'node:util';
import { requireKernel } from '../support/linux-host-harness.ts';
import { PowerCut } from './power-cut.ts';
import { type RoundReport, type RoundsReport, runRounds } from './rounds.ts';
import { testProgram } from './service.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '200' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    'power-cut': { type: 'boolean', default: false },
    'keep-logs': { type: 'string' },
    'keep-going': { type: 'boolean', default: false },
  },
});

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function onRound({ round, trigger, phases, complaints, seconds }: RoundReport): void {
  say(`round ${round}: killed at "${trigger}" during ${phases.join(', ')}; ${seconds.toFixed(1)} s`);
  for (const { code, detail } of complaints) say(`  COMPLAINT ${code}: ${detail.slice(0, 2_000)}`);
}

function summary(report: RoundsReport): void {
  const table = (counts: ReadonlyMap<string, number>) =>
    [...counts]
      .sort(([, a], [, b]) => b - a)
      .map(([name, times]) => `  ${String(times).padStart(5)}  ${name}`)
      .join('\n');
  say(
    `\nseed ${report.seed}: ${report.rounds} rounds, ${report.requests} requests, ${report.acknowledged} acknowledged, ${report.inDoubt} in doubt`,
  );
  say(`kills by trigger\n${table(report.killsByTrigger)}`);
  say(`kills by what was under way\n${table(report.killsByPhase)}`);
  const lost = report.complaints.filter(({ code }) => code.includes('lost')).length;
  say(`checks ${report.checks}\ncomplaints ${report.complaints.length}\nlost ${lost}`);
  if (report.logTail !== '') say(`the end of the product's log:\n${report.logTail}`);
}

requireKernel();
const report = await runRounds({
  rounds: Number(values.rounds),
  seed: Number(values.seed),
  ...(values['keep-going'] ? { stopAt: [] } : {}),
  onRound,
  ...(values['keep-logs'] === undefined ? {} : { keepLogsIn: values['keep-logs'] }),
  ...(values['power-cut'] ? { strike: new PowerCut(), program: [testProgram] } : {}),
});
summary(report);
process.exitCode = report.complaints.length === 0 ? 0 : 1;
