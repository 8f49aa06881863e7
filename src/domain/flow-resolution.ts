/**
 * Which policy decides a flow. Pure: whoever plans paths and whoever explains a decision ask the same function.
 *
 * Two answers for one question would show a path that policy explains away, or hide one that it permits.
 */
import type { FlowAction, FlowPolicy } from './flow-policy.ts';

export interface FlowQuestion {
  readonly initiatorWwpn: string;
  readonly targetWwpn: string;
  readonly namespace: string | null;
}

export interface FlowDecision {
  readonly action: FlowAction;
  /** The target that the flow reaches; null when denied. */
  readonly targetWwpn: string | null;
  /** Null: no policy matches, the default decides. */
  readonly policy: FlowPolicy | null;
  readonly qosPolicy: string | null;
  /** One sentence for people. */
  readonly why: string;
}

/** What a flow without a policy gets. */
export type FlowDefault = Exclude<FlowAction, 'redirect'>;

/**
 * The most exact of the policies that match: pair, initiator only, target only, any; of two that are alike in that, the
 * one for the namespace. A redirect is one step: the port that it leads to is not resolved again. Policies that do not
 * match or are being removed are ignored; which others are in force is the caller's to say. Their order is of no account.
 */
export function resolveFlow(
  question: FlowQuestion,
  policies: readonly FlowPolicy[],
  defaultAction: FlowDefault,
): FlowDecision {
  const matching = policies.filter((policy) => policy.state !== 'removing' && matches(policy, question));
  const policy = matching.sort(moreExactFirst)[0];
  return policy === undefined ? byDefault(question, defaultAction) : byPolicy(question, policy);
}

function matches(policy: FlowPolicy, question: FlowQuestion): boolean {
  return (
    (policy.initiatorWwpn === null || policy.initiatorWwpn === question.initiatorWwpn) &&
    (policy.targetWwpn === null || policy.targetWwpn === question.targetWwpn) &&
    (policy.namespace === null || policy.namespace === question.namespace)
  );
}

/** Keys are unique, so two policies that match one question never have an equal rank; the id settles it all the same. */
function moreExactFirst(left: FlowPolicy, right: FlowPolicy): number {
  return exactness(right) - exactness(left) || (left.id < right.id ? -1 : 1);
}

function exactness({ initiatorWwpn, targetWwpn, namespace }: FlowPolicy): number {
  return (initiatorWwpn === null ? 0 : 4) + (targetWwpn === null ? 0 : 2) + (namespace === null ? 0 : 1);
}

function byDefault(question: FlowQuestion, action: FlowDefault): FlowDecision {
  return {
    action,
    targetWwpn: action === 'deny' ? null : question.targetWwpn,
    policy: null,
    qosPolicy: null,
    why: `No flow policy matches ${shown(question)}; the default is to ${action}.`,
  };
}

function byPolicy(question: FlowQuestion, policy: FlowPolicy): FlowDecision {
  const verdicts: Readonly<Record<FlowAction, string>> = {
    permit: 'permits it',
    deny: 'denies it',
    redirect: `redirects it to ${policy.redirectTo}`,
  };
  return {
    action: policy.action,
    targetWwpn: reached(question, policy),
    policy,
    qosPolicy: policy.action === 'deny' ? null : policy.qosPolicy,
    why: `Flow policy ${policy.id}${scope(policy)} decides ${shown(question)} and ${verdicts[policy.action]}.`,
  };
}

function reached(question: FlowQuestion, policy: FlowPolicy): string | null {
  if (policy.action === 'deny') return null;
  return policy.action === 'redirect' ? policy.redirectTo : question.targetWwpn;
}

function scope({ initiatorWwpn, targetWwpn, namespace }: FlowPolicy): string {
  const flow = `${initiatorWwpn ?? 'any initiator'} to ${targetWwpn ?? 'any target'}`;
  return ` (${flow}${namespace === null ? '' : `, namespace ${namespace}`})`;
}

function shown({ initiatorWwpn, targetWwpn, namespace }: FlowQuestion): string {
  return `${initiatorWwpn} to ${targetWwpn}${namespace === null ? '' : ` in namespace ${namespace}`}`;
}
