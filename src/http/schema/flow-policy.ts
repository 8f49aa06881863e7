import { type Static, Type } from 'typebox';
import { type FlowPolicy, type FlowPolicyState, flowActions, flowPolicyTransitions } from '../../domain/flow-policy.ts';
import * as field from '../../operations/field-schemas.ts';
import type { FlowDecision } from '../../store/store.ts';
import * as out from './output.ts';

const states = Object.keys(flowPolicyTransitions) as FlowPolicyState[];

const fields = {
  id: out.text('Id of the policy.', 'flow_01JD0000000000000000000000'),
  initiatorWwpn: out.wwpnOrNull('Initiator port; null: any.'),
  targetWwpn: out.wwpnOrNull('Target port; null: any.'),
  namespace: out.textOrNull('Only for this container; null: for all.', 'c0ffee12', null),
  action: out.oneOf(flowActions, 'What happens to the flow.'),
  redirectTo: out.wwpnOrNull('Target port that is used instead, for `redirect`.'),
  qosPolicy: out.textOrNull('QoS policy of the flow.', 'gold', null),
  state: out.oneOf(states, 'State of the policy.'),
  version: out.integer('Rises with every change; the ETag is made of it.', 1),
  createdAt: out.instant('When the policy was made'),
};
const description = 'What happens to a flow from an initiator port to a target port.';

export const flowPolicySchema = out.named<FlowPolicy>('FlowPolicy', out.object<FlowPolicy>(description, fields));
export const flowPolicyPageSchema = out.pageOf(flowPolicySchema);

export const flowDecisionSchema = out.named<FlowDecision>(
  'FlowDecision',
  out.object<FlowDecision>('How a flow is decided, and why.', {
    action: out.oneOf(flowActions, 'What happens to the flow.'),
    targetWwpn: out.wwpnOrNull('Target port that the flow reaches; null when denied.'),
    policy: {
      ...out.object<FlowPolicy>('The policy that decided; null: the default did.', fields),
      type: ['object', 'null'],
    },
    qosPolicy: out.textOrNull('QoS policy of the flow.', 'gold', null),
    why: out.text('One sentence for people.', 'No policy matches; the default is permit.'),
  }),
);

export const flowPolicyChangeBody = Type.Object(
  {
    action: field.maybeOneOf(flowActions, { description: 'What happens to the flow.', examples: ['deny'] }),
    redirectTo: field.maybeWwpn({ description: 'Target port to use instead; null takes it away.' }),
    qosPolicy: field.maybeReference({ description: 'QoS policy of the flow; null takes it away.', examples: ['gold'] }),
  },
  { additionalProperties: false },
);
export type FlowPolicyChangeBody = Static<typeof flowPolicyChangeBody>;
