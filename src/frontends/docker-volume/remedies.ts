/**
 * What whoever typed at an engine can do about a problem, by its code, where the problem does not say it itself. It names
 * the engine's options and the commands of `fcr`, which speak of everything that an engine knows nothing of.
 */
import type { ErrorCode, Problem } from '../../domain/errors.ts';

type Remedy = (told: Problem) => string;

const newPool = 'fcr pool create <name> --size <size>';

const remedies: Partial<Readonly<Record<ErrorCode, Remedy>>> = {
  'pool-not-found': () => `Name one that there is, leave the option pool out, or make it: ${newPool}.`,
  'pool-draining': () => 'Name another pool, or none.',
  'no-pool-fits': () =>
    `Make a pool that fits (${newPool} --filesystem <type>), or ask for other values of the options pool, fs and size.`,
  'pool-exhausted': () => 'A pool gets more volumes by fcr pool update <name> --max-volumes <count>.',
  'qos-policy-not-found': () =>
    'Name one of fcr qos-policy list, leave the option qos out, or make it: fcr qos-policy create <name>.',
  'name-taken': () => 'Ask for it without options, take another name, or remove it first.',
  'volume-in-use': elsewhere,
  'volume-not-ready': () => 'fcr volume get <name> shows how it is; try again.',
  'resource-held': () => 'Try again.',
  'device-busy': () => 'End what holds it, and try again.',
  'host-unreachable-paths': () => 'fcr host get <name>, fcr storage-node get <name> and fcr flow-policy list show why.',
  unauthenticated: () => 'The agent shows the token of its setting tokenFile (FCR_TOKEN_FILE).',
  forbidden: () =>
    'Engines make and remove volumes with a token of role operator: docker.tokenFile (FCR_DOCKER_TOKEN_FILE) names its file.',
};

/** Empty where the problem says enough. */
export function remedyOf(told: Problem): string {
  return remedies[told.code]?.(told) ?? '';
}

/** Who has it on this host is told with what to do about it; of another host only its name and attachment are known. */
function elsewhere({ related = {} }: Problem): string {
  const { host, attachment } = related;
  if (host === undefined || attachment === undefined) return '';
  const ends = `on ${host} stop its containers or fcr umount it; fcr attachment delete ${attachment} asks the host to`;
  return `To end that: ${ends}. If the machine is lost for good: fcr host lost ${host}.`;
}
