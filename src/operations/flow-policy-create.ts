import { newId } from '../domain/ids.ts';
import type { OperationParams } from '../domain/operation.ts';
import type { FlowPolicyRow } from '../store/group.ts';
import { blockerOf, failed, type OperationContext, type OperationDefinition, succeeded } from './definition.ts';
import { flowKeyOf, type Model, type Step } from './model.ts';

type Params = OperationParams['flow-policy.create'];

/** Says what happens to a flow. One policy for a (initiator, target, namespace); again with equal fields answers it. */
export const flowPolicyCreate: OperationDefinition<'flow-policy.create'> = {
  type: 'flow-policy.create',
  deferred: false,

  references(params, collect) {
    const { initiatorWwpn, targetWwpn, namespace } = keyOf(params);
    collect.flowKeys.push({ initiator_wwpn: initiatorWwpn, target_wwpn: targetWwpn, namespace });
    if (params.qosPolicy !== undefined) collect.qosPolicies.add(params.qosPolicy);
  },

  keys: (params) => [`flow:${flowKeyOf(keyOf(params))}`],

  plan(model, operation, params) {
    const { initiatorWwpn, targetWwpn, namespace } = keyOf(params);
    const row = model.flowPolicy(initiatorWwpn, targetWwpn, namespace);
    if (row?.pendingOperation === operation.id) return { kind: 'undecided' };
    if (row !== null) return blockerOf(row, operation) ?? answerExisting(model, operation, row, params);
    if (params.qosPolicy !== undefined && !model.qosPolicies.has(params.qosPolicy)) {
      return failed('qos-policy-not-found', `There is no QoS policy "${params.qosPolicy}".`, { field: 'qosPolicy' });
    }
    return create(model, operation, params);
  },
};

function create(model: Model, operation: OperationContext, params: Params): Step {
  const row = model.putFlowPolicy({
    id: newId('flow', model.context.now),
    ...keyOf(params),
    action: params.action,
    redirectTo: params.redirectTo ?? null,
    qosPolicy: params.qosPolicy ?? null,
    state: operation.decided ? 'active' : 'pending',
    heldBy: null,
    pendingOperation: operation.decided ? null : operation.id,
    createdAt: model.context.now,
    version: 1,
  });
  model.tell('flow-policy', row.id, null, row.state);
  return operation.decided ? succeeded({ kind: 'flow-policy', id: row.id }) : { kind: 'undecided' };
}

function answerExisting(model: Model, operation: OperationContext, row: FlowPolicyRow, params: Params): Step {
  const same =
    row.action === params.action &&
    (params.redirectTo === undefined || params.redirectTo === row.redirectTo) &&
    (params.qosPolicy === undefined || params.qosPolicy === row.qosPolicy);
  if (same) {
    if (!operation.decided) model.putFlowPolicy(row);
    return succeeded({ kind: 'flow-policy', id: row.id }, true);
  }
  return failed(
    'name-taken',
    'A policy for this initiator, target and namespace exists already, with other fields; update or delete it.',
    {
      related: { flowPolicy: row.id },
    },
  );
}

function keyOf(params: Params): { initiatorWwpn: string; targetWwpn: string; namespace: string } {
  return {
    initiatorWwpn: params.initiatorWwpn ?? '',
    targetWwpn: params.targetWwpn ?? '',
    namespace: params.namespace ?? '',
  };
}
