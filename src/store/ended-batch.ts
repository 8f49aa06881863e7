import type { Batch, Operation } from '../domain/operation.ts';

/**
 * A batch that has ended, as the store hands it over. What its operations led to is text: the journal keeps it so, text is
 * copied between threads far faster than what it stands for, and it is read where no commit waits for it.
 */
export interface EndedBatch extends Omit<Batch, 'operations'> {
  /** JSON of the operations, in the request's order. */
  readonly operations: string;
}

export function endedBatch(batch: EndedBatch): Batch {
  return { ...batch, operations: JSON.parse(batch.operations) as readonly Operation[] };
}
