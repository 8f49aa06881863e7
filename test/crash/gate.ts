import type { ExecutionContext } from 'ava';
import { requireKernel } from '../support/linux-host-harness.ts';
import { type RoundsOptions, type RoundsReport, runRounds } from './rounds.ts';

/** A round waits a minute at most for the service to settle; AVA is told that this is still going on. */
const roundTimeoutMs = 150_000;

export async function roundsOf(t: ExecutionContext, options: RoundsOptions): Promise<RoundsReport> {
  requireKernel();
  const onRound = () => t.timeout(roundTimeoutMs);
  onRound();
  return await runRounds({ ...options, onRound });
}

/** For the message of a failure: the seed brings the load back. */
export function described({ seed, complaints, logTail }: RoundsReport): string {
  const lines = complaints.map(({ round, code, detail }) => `round ${round}: ${code}: ${detail}`);
  return [`seed ${seed}`, ...lines, logTail].join('\n');
}
