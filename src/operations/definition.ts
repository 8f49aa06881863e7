import { type ErrorCode, type FailureOptions, problem } from '../domain/errors.ts';
import type { OperationParams, OperationType } from '../domain/operation.ts';
import { outwardReason } from '../domain/volume.ts';
import type { FlowKey, Needs, Picture, VolumeRow } from '../store/group.ts';
import type { Model, ResourceName, Step } from './model.ts';

/** One operation: what it speaks of, and how it moves one step. Pure over the model; one file an operation. */
export interface OperationDefinition<T extends OperationType> {
  readonly type: T;
  /**
   * Takes effect only once an all-or-nothing batch is decided `commit`, and then only forward: until then the rows are
   * merely checked and held.
   */
  readonly deferred: boolean;
  references(params: OperationParams[T], collect: ReferenceCollector): void;
  needs?(params: OperationParams[T], picture: Picture, collect: NeedCollector): void;
  /** The resources whose order it keeps; see `Wait`. */
  keys(params: OperationParams[T], model: Model): readonly string[];
  /** Begins, or goes on where the rows say it stands. */
  plan(model: Model, operation: OperationContext, params: OperationParams[T]): Step;
  /** Deferred ones: whether it could be carried out; holds what it will touch. Null: yes. */
  check?(model: Model, operation: OperationContext, params: OperationParams[T]): Step | null;
}

export interface OperationContext {
  readonly id: string;
  readonly batch: string;
  /** False within an all-or-nothing batch that has effects and is not decided yet. */
  readonly decided: boolean;
  /** Its all-or-nothing batch is decided `commit`: it may have to wait, and is not refused for that. */
  readonly forward: boolean;
  /** That was decided by an earlier step: it may not fail any more. (What is planned at once still may.) */
  readonly committed: boolean;
}

export interface ReferenceCollector {
  readonly volumes: Set<string>;
  readonly hosts: Set<string>;
  readonly attachments: Set<string>;
  readonly flowPolicies: Set<string>;
  readonly flowKeys: FlowKey[];
  readonly qosPolicies: Set<string>;
  pools: boolean;
  storageNodes: boolean;
}

export interface NeedCollector {
  readonly freeVolumes: Map<string, number>;
  readonly luns: Map<string, Needs['luns'][number]>;
  readonly flowKeys: Map<string, FlowKey>;
  poolless: boolean;
}

export function failed(code: ErrorCode, detail: string, options: FailureOptions = {}): Step {
  return { kind: 'failed', problem: problem(code, detail, options) };
}

export function succeeded(resource: ResourceName | null, existing = false): Step {
  return { kind: 'succeeded', resource, existing };
}

export const running: Step = { kind: 'running', leased: true };
export const waitsForHost: Step = { kind: 'running', leased: false };

/** What a row that an operation has finished with carries: nothing, or, in an undecided batch, that it is done. */
export function doneMarks(operation: OperationContext): {
  readonly pendingOperation: string | null;
  readonly effect: 'done' | null;
  readonly leaseUntil: 0;
} {
  return operation.decided
    ? { pendingOperation: null, effect: null, leaseUntil: 0 }
    : { pendingOperation: operation.id, effect: 'done', leaseUntil: 0 };
}

export function finished(operation: OperationContext, resource: ResourceName): Step {
  return operation.decided ? succeeded(resource) : { kind: 'undecided' };
}

/** For refusals, which hosts read too. */
export function stateOf({ state, failureReason }: VolumeRow): string {
  return failureReason === null ? state : `${state} (${outwardReason(failureReason)})`;
}

/** Whom to wait for before touching the row, or null when it is nobody's or the operation's own. */
export function blockerOf(
  row: { readonly heldBy: string | null; readonly pendingOperation: string | null },
  operation: OperationContext,
): Step | null {
  if (row.heldBy !== null && row.heldBy !== operation.batch) return { kind: 'blocked', on: row.heldBy };
  if (row.pendingOperation === null || row.pendingOperation === operation.id) return null;
  // Within one undecided batch a finished neighbour's row may be built upon.
  if (row.heldBy === operation.batch && (!('effect' in row) || row.effect === 'done')) return null;
  return { kind: 'blocked', on: row.pendingOperation };
}
