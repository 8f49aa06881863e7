/** Which command shows what somebody at a shell needs to know next, by a problem's code, where the problem does not say it. */
import type { ErrorCode, Problem } from '../../domain/errors.ts';

const remedies: Partial<Readonly<Record<ErrorCode, string>>> = {
  'pool-not-found': 'fcr pool list shows which there are.',
  'pool-exhausted': 'fcr pool list shows them; fcr pool update <name> --max-volumes <count> allows more.',
  'no-pool-fits': 'fcr pool list shows the sizes.',
  'volume-not-found': 'fcr volume list shows which there are.',
  'host-not-found': 'fcr host list shows which there are.',
  'storage-node-not-found': 'fcr storage-node list shows which there are.',
  'qos-policy-not-found': 'fcr qos-policy list shows which there are.',
  'mount-not-found': 'fcr mounts shows what is.',
};

/** The detail, and what to do about it. */
export function withRemedy(problem: Problem): string {
  const remedy = remedyOf(problem);
  return remedy === undefined ? problem.detail : `${problem.detail} ${remedy}`;
}

function remedyOf({ code, related }: Problem): string | undefined {
  const operation = related?.operation;
  if (code !== 'deadline-exceeded' || operation === undefined) return remedies[code];
  return `fcr operation get ${operation} shows how it is.`;
}
