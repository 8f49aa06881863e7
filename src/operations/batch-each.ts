import { operationId } from '../domain/operation.ts';
import type { PendingBatch } from '../store/group.ts';
import type { GroupProgress } from './group-progress.ts';
import type { Step } from './model.ts';
import { openOperations } from './open-operations.ts';
import { withDefinition } from './registry.ts';

/** Each operation of the batch succeeds or fails on its own. */
export function planEach(progress: GroupProgress, batch: PendingBatch): void {
  const committed = batch.decision === 'commit';
  let leased = false;
  for (const { spec, index } of openOperations(batch)) {
    const operation = {
      id: operationId(batch.id, index),
      batch: batch.id,
      decided: true,
      forward: committed,
      committed,
    };
    const keys = withDefinition(spec, (definition, params) => definition.keys(params, progress.model));
    const earlier = progress.model.begun.has(operation.id) ? null : progress.earlierOnKeys(keys, batch, index);
    const step: Step =
      earlier === null
        ? withDefinition(spec, (definition, params) => definition.plan(progress.model, operation, params))
        : { kind: 'blocked', on: earlier };
    if (step.kind === 'succeeded' || step.kind === 'failed') progress.end(batch, index, step);
    else if (step.kind === 'blocked') progress.block(batch, index, keys, step.on);
    else {
      progress.stopWaiting(operation.id);
      leased ||= step.kind === 'running' && step.leased;
    }
  }
  progress.stand(batch, { leased });
}
