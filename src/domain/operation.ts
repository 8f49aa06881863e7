import type { AccessMode } from './attachment.ts';
import type { Problem } from './errors.ts';
import type { FlowAction } from './flow-policy.ts';
import type { Transitions } from './state-machine.ts';
import type { Labels } from './volume.ts';

export type OperationState = 'accepted' | 'running' | 'succeeded' | 'failed';
export const operationTransitions: Transitions<OperationState> = {
  accepted: ['running', 'succeeded', 'failed'],
  running: ['succeeded', 'failed'],
  succeeded: [],
  failed: [],
};

export type BatchState = 'accepted' | 'running' | 'ended';
export const batchTransitions: Transitions<BatchState> = {
  accepted: ['running', 'ended'],
  running: ['ended'],
  ended: [],
};

export type Atomicity = 'per-operation' | 'all-or-nothing';
export type Decision = 'commit' | 'undoing';

/** Parameters after validation: sizes in bytes, port names in normal form, absent and null are the same. */
export interface OperationParams {
  'volume.create': {
    readonly name: string;
    readonly sizeBytes?: number;
    readonly pool?: string;
    readonly qosPolicy?: string;
    readonly labels?: Labels;
  };
  /** `volume` is a name or an id. */
  'volume.delete': { readonly volume: string };
  'volume.attach': {
    readonly volume: string;
    readonly host: string;
    readonly accessMode: AccessMode;
    readonly namespace?: string;
    /** The host itself asks and will make the device at once: no other claim is needed before it touches anything. */
    readonly claim?: boolean;
  };
  'volume.detach': {
    readonly attachment: string;
    readonly force?: boolean;
    /** The host itself asks, and has proved that the device of this epoch is gone: nothing is left to wait for. */
    readonly gone?: { readonly epoch: number; readonly proof: string };
  };
  'flow-policy.create': {
    readonly initiatorWwpn?: string;
    readonly targetWwpn?: string;
    readonly namespace?: string;
    readonly action: FlowAction;
    readonly redirectTo?: string;
    readonly qosPolicy?: string;
  };
  'flow-policy.delete': { readonly flowPolicy: string; readonly ifVersion?: number };
}

export type OperationType = keyof OperationParams;
export const operationTypes: readonly OperationType[] = [
  'volume.create',
  'volume.delete',
  'volume.attach',
  'volume.detach',
  'flow-policy.create',
  'flow-policy.delete',
];

export type OperationSpec = {
  [T in OperationType]: { readonly type: T; readonly params: OperationParams[T] };
}[OperationType];

/** How an operation ended. `resource` is the resource as it was then, which is what a replay answers with. */
export type OperationOutcome =
  | { readonly state: 'succeeded'; readonly resource: OperationResource | null; readonly existing: boolean }
  | { readonly state: 'failed'; readonly problem: Problem };

export interface OperationResource {
  readonly kind: 'volume' | 'attachment' | 'flow-policy';
  readonly id: string;
  readonly [field: string]: unknown;
}

export interface Operation {
  /** `<batch>-<n>`, n from 0 in the request's order. */
  readonly id: string;
  readonly batch: string;
  readonly type: OperationType;
  readonly state: OperationState;
  readonly resource: OperationResource | null;
  readonly existing: boolean;
  readonly problem: Problem | null;
  readonly requestedBy: string;
  readonly acceptedAt: number;
  readonly endedAt: number | null;
}

export interface Batch {
  readonly id: string;
  readonly state: BatchState;
  readonly atomicity: Atomicity;
  readonly decision: Decision | null;
  readonly operations: readonly Operation[];
  readonly requestedBy: string;
  readonly acceptedAt: number;
  readonly endedAt: number | null;
}

export function operationId(batch: string, index: number): string {
  return `${batch}-${index}`;
}

export function batchOf(operation: string): { readonly batch: string; readonly index: number } {
  const dash = operation.lastIndexOf('-');
  return { batch: operation.slice(0, dash), index: Number(operation.slice(dash + 1)) };
}
