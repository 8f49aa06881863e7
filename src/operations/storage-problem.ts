import { errorCatalogue, type Problem, problem } from '../domain/errors.ts';

/**
 * What clients are told of an effect that a storage node could not carry out: that the storage is at fault, and where the
 * cause stands. Paths and the words of programs are for the log.
 */
export function storageProblem(told: Problem, storageNode: string, deed: string): Problem {
  const { code } = told;
  if (code !== 'storage-failed' && errorCatalogue[code].kind !== 'internal') return told;
  const detail = `Storage node "${storageNode}" could not ${deed} (${code}); the log of its controller has the cause. Ask again once that is mended.`;
  return problem('storage-failed', detail, { related: { storageNode } });
}
