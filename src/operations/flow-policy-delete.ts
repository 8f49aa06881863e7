import type { OperationParams } from '../domain/operation.ts';
import type { FlowPolicyRow } from '../store/group.ts';
import { blockerOf, failed, type OperationContext, type OperationDefinition, succeeded } from './definition.ts';
import { flowKeyOf, type Model, type Step } from './model.ts';

type Params = OperationParams['flow-policy.delete'];

export const flowPolicyDelete: OperationDefinition<'flow-policy.delete'> = {
  type: 'flow-policy.delete',
  deferred: true,

  references(params, collect) {
    collect.flowPolicies.add(params.flowPolicy);
  },

  keys: (params, model) => {
    const row = model.flowPolicies.get(params.flowPolicy);
    const own = `flow-policy:${params.flowPolicy}`;
    return row === null ? [own] : [own, `flow:${flowKeyOf(row)}`];
  },

  plan(model, operation, params) {
    const row = model.flowPolicies.get(params.flowPolicy);
    const refusal = refuse(operation, params, row);
    if (refusal !== null || row === null) return refusal ?? notFound(params);
    model.removeFlowPolicy(row);
    model.tell('flow-policy', row.id, null, 'removed');
    return succeeded(null);
  },

  check(model: Model, operation, params) {
    const row = model.flowPolicies.get(params.flowPolicy);
    const refusal = refuse(operation, params, row);
    if (refusal !== null || row === null) return refusal ?? notFound(params);
    model.putFlowPolicy(row);
    return null;
  },
};

function refuse(operation: OperationContext, params: Params, row: FlowPolicyRow | null): Step | null {
  if (row === null) return notFound(params);
  const blocker = blockerOf(row, operation);
  if (blocker !== null) return blocker;
  if (params.ifVersion === undefined || params.ifVersion === row.version) return null;
  return failed('etag-mismatch', `The policy is at version ${row.version}, not ${params.ifVersion}; read it again.`, {
    related: { flowPolicy: row.id },
  });
}

function notFound(params: Params): Step {
  return failed('flow-policy-not-found', `There is no flow policy "${params.flowPolicy}".`, { field: 'flowPolicy' });
}
