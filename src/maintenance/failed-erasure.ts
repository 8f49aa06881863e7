import { limits } from '../config/limits.ts';
import { errorCatalogue, type Problem } from '../domain/errors.ts';
import type { ErasureEffect, VolumeSettle } from '../store/store.ts';

/**
 * What a wipe or destruction that did not succeed means for its volume. What time or space heals, or the storage node as
 * a whole, is tried again; a medium that is not as it should be, or has failed too often since its last wipe, is nobody's before a
 * person has looked.
 */
export function failedErasure({ request, mediumFailures: before }: ErasureEffect, problem: Problem): VolumeSettle {
  const { volumeId, generation } = request;
  const mediumFailures = problem.code === 'device-error' ? before + 1 : before;
  const result = { ok: false, problem, quarantine: !isTriedAgain(problem), mediumFailures } as const;
  if (mediumFailures < limits.mediumFailures) return { volumeId, generation, result };
  const detail = `${problem.detail} (${mediumFailures} attempts failed)`;
  return { volumeId, generation, result: { ...result, problem: { ...problem, detail }, quarantine: true } };
}

function isTriedAgain({ code }: Problem): boolean {
  return errorCatalogue[code].retryable || code === 'stale-generation' || code === 'storage-failed';
}
