import type { OperationSpec } from '../domain/operation.ts';
import type { PendingBatch } from '../store/group.ts';

/** The operations of a batch that have not ended, in order. */
export function* openOperations(
  batch: PendingBatch,
): Generator<{ readonly spec: OperationSpec; readonly index: number }> {
  for (const [index, spec] of batch.operations.entries()) if (!batch.done.has(index)) yield { spec, index };
}
