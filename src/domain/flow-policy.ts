import type { Transitions } from './state-machine.ts';

export type FlowAction = 'permit' | 'deny' | 'redirect';
export const flowActions: readonly FlowAction[] = ['permit', 'deny', 'redirect'];

export type FlowPolicyState = 'pending' | 'active' | 'removing';
export const flowPolicyTransitions: Transitions<FlowPolicyState> = {
  pending: ['active', 'removing'],
  active: ['removing'],
  removing: [],
};

export interface FlowPolicy {
  readonly id: string;
  /** Null: any initiator. */
  readonly initiatorWwpn: string | null;
  /** Null: any target. */
  readonly targetWwpn: string | null;
  readonly namespace: string | null;
  readonly action: FlowAction;
  readonly redirectTo: string | null;
  readonly qosPolicy: string | null;
  readonly state: FlowPolicyState;
  readonly version: number;
  readonly createdAt: number;
}
