import { problem } from '../domain/errors.ts';
import { operationId } from '../domain/operation.ts';
import type { GivenUp, PendingBatch } from '../store/group.ts';
import type { GroupProgress } from './group-progress.ts';
import { openOperations } from './open-operations.ts';

/**
 * Ends what can safely be ended of a batch that a bug keeps from being carried on: operations that have touched nothing.
 * What has an effect in flight or rows held stays as it is: the batch is parked, and tried again when its lease ends.
 */
export function giveUpBatch(progress: GroupProgress, batch: PendingBatch, { marks, reason }: GivenUp): void {
  const apart = batch.atomicity === 'per-operation';
  if (apart || (marks.size === 0 && batch.decision !== 'commit')) endUntouched(progress, batch, marks, reason);
  else if (batch.decision === null) takeBack(progress, batch);
  // The decision is made, and what it asks for is not done.
  else progress.stand(batch, { leased: true, parked: reason });
}

function endUntouched(progress: GroupProgress, batch: PendingBatch, marks: ReadonlySet<string>, reason: string): void {
  for (const { index } of openOperations(batch)) {
    if (!marks.has(operationId(batch.id, index))) progress.end(batch, index, { kind: 'failed', problem: mistaken });
  }
  progress.stand(batch, { leased: true, parked: reason });
}

/** The way back is another one than that which failed; where it fails too, the batch is parked. */
function takeBack(progress: GroupProgress, batch: PendingBatch): void {
  const [first] = openOperations(batch);
  const failure = { index: first?.index ?? 0, problem: mistaken };
  progress.stand(batch, { decision: 'undoing', failure, ready: true });
}

const mistaken = problem(
  'internal',
  'The operation met a bug and was given up, with nothing of it done; the log has the details.',
);
