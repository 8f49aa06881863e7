import { operationId } from '../domain/operation.ts';
import type { GroupPlan, GroupPlanner, Needs, PendingBatch, Picture, PlanContext, References } from '../store/group.ts';
import { emptyPicture } from '../store/group.ts';
import type { EffectOutcome } from '../store/store.ts';
import { planAtomic } from './batch-atomic.ts';
import { planEach } from './batch-each.ts';
import { giveUpBatch } from './batch-given-up.ts';
import type { NeedCollector } from './definition.ts';
import { GroupProgress } from './group-progress.ts';
import { Model } from './model.ts';
import { openOperations } from './open-operations.ts';
import { withDefinition } from './registry.ts';
import { settleAll } from './settle.ts';

/**
 * Plans a group: every waiting operation, in journal order, on one picture. Because it is sequential, an operation sees
 * what the ones before it did, so operations of one resource need no further commits unless an effect lies between.
 */
export const groupPlanner: GroupPlanner = {
  references(batches) {
    const references = emptyReferences();
    for (const batch of batches) {
      references.batches.add(batch.id);
      for (const { spec, index } of openOperations(batch)) {
        if (batch.state === 'running') references.operations.add(operationId(batch.id, index));
        withDefinition(spec, (definition, params) => definition.references(params, references));
      }
    }
    return references;
  },

  needs(batches, picture) {
    const collect: NeedCollector = { freeVolumes: new Map(), luns: new Map(), flowKeys: new Map(), poolless: false };
    for (const batch of batches) {
      for (const { spec } of openOperations(batch)) {
        withDefinition(spec, (definition, params) => definition.needs?.(params, picture, collect));
      }
    }
    return needsOf(collect);
  },

  advance(batches, picture, context) {
    const progress = new GroupProgress(new Model(picture, context), picture.waits);
    for (const batch of batches) {
      if (batch.atomicity === 'per-operation' || batch.decision === 'commit') planEach(progress, batch);
      else planAtomic(progress, batch);
    }
    return progress.plan();
  },

  settle(
    outcomes: readonly EffectOutcome[],
    batches: readonly PendingBatch[],
    picture: Picture,
    context: PlanContext,
  ): GroupPlan {
    const progress = new GroupProgress(new Model(picture, context), picture.waits);
    settleAll(progress, outcomes, batches);
    return progress.plan();
  },

  giveUp(batch, given, context) {
    const progress = new GroupProgress(new Model(emptyPicture, context), []);
    giveUpBatch(progress, batch, given);
    return progress.plan();
  },
};

function emptyReferences() {
  return {
    volumes: new Set<string>(),
    hosts: new Set<string>(),
    attachments: new Set<string>(),
    flowPolicies: new Set<string>(),
    flowKeys: [] as { initiator_wwpn: string; target_wwpn: string; namespace: string }[],
    qosPolicies: new Set<string>(),
    pools: false,
    storageNodes: false,
    batches: new Set<string>(),
    operations: new Set<string>(),
  } satisfies References;
}

function needsOf(collect: NeedCollector): Needs {
  return {
    freeVolumes: collect.freeVolumes,
    luns: [...collect.luns.values()],
    flowKeys: [...collect.flowKeys.values()],
    poolless: collect.poolless,
  };
}
