import type { AccessMode, AttachmentState, HostSide, Path } from '../domain/attachment.ts';
import type { Problem } from '../domain/errors.ts';
import type { Event } from '../domain/event.ts';
import type { FlowAction, FlowPolicyState } from '../domain/flow-policy.ts';
import type { FlowDefault } from '../domain/flow-resolution.ts';
import type { Port } from '../domain/host.ts';
import type { Atomicity, BatchState, Decision, OperationOutcome, OperationSpec } from '../domain/operation.ts';
import type { PoolState } from '../domain/pool.ts';
import type { FilesystemType, Labels, VolumeState } from '../domain/volume.ts';
import type { Effect, EffectOutcome } from './store.ts';

/**
 * How operations become rows. The store loads what a group of batches speaks of, the planner (pure; src/operations)
 * decides on that picture, in journal order, and the store writes the difference, all in one transaction. Both sides
 * are set-based: loading and writing take a fixed number of statements.
 */
export interface GroupPlanner {
  /** What the batches speak of. */
  references(batches: readonly PendingBatch[]): References;
  /** What must be found besides, once the named things are known: free volumes and LUN numbers. */
  needs(batches: readonly PendingBatch[], picture: Picture): Needs;
  advance(batches: readonly PendingBatch[], picture: Picture, context: PlanContext): GroupPlan;
  /** `batches` are those of the outcomes' operations. */
  settle(
    outcomes: readonly EffectOutcome[],
    batches: readonly PendingBatch[],
    picture: Picture,
    context: PlanContext,
  ): GroupPlan;
  /** What can be ended of a batch that a bug keeps from being carried on; the rest is parked. */
  giveUp(batch: PendingBatch, given: GivenUp, context: PlanContext): GroupPlan;
}

export interface GivenUp {
  /** Ids of its operations that have marked a row, and its own id where it holds one. */
  readonly marks: ReadonlySet<string>;
  /** The bug, for people. */
  readonly reason: string;
}

export interface PlanContext {
  readonly commit: number;
  readonly now: number;
  readonly effectLeaseMs: number;
  readonly defaultFlowAction: FlowDefault;
}

export interface PendingBatch {
  readonly seq: number;
  readonly id: string;
  readonly state: BatchState;
  readonly atomicity: Atomicity;
  readonly decision: Decision | null;
  readonly failure: BatchFailure | null;
  /** The next advance looks at it in any case: something that it waited for has ended, or its host has reported. */
  readonly ready: boolean;
  readonly leaseUntil: number;
  readonly operations: readonly OperationSpec[];
  /** Operations that have ended already, by index. */
  readonly done: ReadonlySet<number>;
  readonly principal: string;
  readonly acceptedAt: number;
}

export interface BatchFailure {
  readonly index: number;
  readonly problem: Problem;
}

export interface References {
  /** Names or ids. */
  readonly volumes: ReadonlySet<string>;
  readonly hosts: ReadonlySet<string>;
  readonly attachments: ReadonlySet<string>;
  readonly flowPolicies: ReadonlySet<string>;
  readonly flowKeys: readonly FlowKey[];
  readonly qosPolicies: ReadonlySet<string>;
  /** Whether pools (for creates) and storage nodes with their ports (for attaches) are needed. */
  readonly pools: boolean;
  readonly storageNodes: boolean;
  /** Batches whose held rows and operations whose in-flight rows are needed. */
  readonly batches: ReadonlySet<string>;
  readonly operations: ReadonlySet<string>;
}

export interface FlowKey {
  readonly initiator_wwpn: string;
  readonly target_wwpn: string;
  readonly namespace: string;
}

export interface Needs {
  readonly freeVolumes: ReadonlyMap<string, number>;
  readonly luns: readonly LunNeed[];
  /** Every flow policy that could decide one of the attaches. */
  readonly flowKeys: readonly FlowKey[];
  /** A volume is to be made that no pool bounds. */
  readonly poolless: boolean;
}

export interface LunNeed {
  readonly initiatorWwpn: string;
  readonly targetWwpn: string;
  readonly count: number;
}

export interface Picture {
  readonly pools: readonly PoolRow[];
  readonly volumes: readonly VolumeRow[];
  readonly freeVolumes: readonly VolumeRow[];
  readonly attachments: readonly AttachmentRow[];
  readonly hosts: readonly HostRow[];
  readonly storageNodes: readonly StorageNodeRow[];
  readonly flowPolicies: readonly FlowPolicyRow[];
  readonly qosPolicies: ReadonlySet<string>;
  readonly luns: readonly LunFound[];
  readonly waits: readonly Wait[];
  /** Volumes without a pool that wait to be destroyed; 0 where none is to be made. */
  readonly retiredPoolless: number;
}

/** Nothing that a picture could show. */
export const emptyPicture: Picture = {
  pools: [],
  volumes: [],
  freeVolumes: [],
  attachments: [],
  hosts: [],
  storageNodes: [],
  flowPolicies: [],
  qosPolicies: new Set<string>(),
  luns: [],
  retiredPoolless: 0,
  waits: [],
};

/**
 * An operation that has not begun because it waits for another one keeps its place in the order of each resource that
 * it touches: later operations on the key wait for it.
 */
export interface Wait {
  readonly key: string;
  readonly operation: string;
  readonly batchSeq: number;
}

export interface LunFound {
  readonly initiatorWwpn: string;
  readonly targetWwpn: string;
  /** Freed numbers, lowest first. */
  readonly free: readonly number[];
  /** The lowest number that was never used. */
  readonly next: number;
}

export interface PoolRow {
  readonly name: string;
  readonly backend: string;
  readonly storageNode: string;
  readonly volumeSizeBytes: number;
  readonly minFree: number;
  readonly maxVolumes: number;
  readonly filesystem: FilesystemType;
  readonly state: PoolState;
  readonly blockedReason: string | null;
  readonly provisioning: number;
  readonly free: number;
  readonly allocated: number;
  readonly wiping: number;
  readonly failed: number;
  readonly retired: number;
}

/** `issued`: with a worker, or the erasure, under a lease; `done`: carried out, the batch undecided; `undo`: the way back is issued. */
export type EffectState = 'issued' | 'done' | 'undo';

export interface VolumeRow {
  readonly id: string;
  readonly name: string | null;
  readonly pool: string | null;
  readonly storageNode: string;
  readonly backend: string;
  readonly sizeBytes: number;
  readonly state: VolumeState;
  readonly generation: number;
  readonly mediaGeneration: number;
  readonly serial: string;
  readonly wwid: string;
  readonly filesystem: FilesystemType;
  readonly formatted: boolean;
  readonly qosPolicy: string | null;
  readonly labels: Labels;
  readonly epoch: number;
  readonly writer: string | null;
  readonly readers: number;
  readonly heldBy: string | null;
  readonly pendingOperation: string | null;
  /** The pending operation's; without one, that of the erasure (of a wiping or retired volume), always `issued`. */
  readonly effect: EffectState | null;
  readonly leaseUntil: number;
  readonly failureReason: string | null;
  /** As it is stored: planning only hands it on. */
  readonly wipeProof: string | null;
  readonly createdAt: number;
  readonly allocatedAt: number | null;
  readonly version: number;
}

export interface AttachmentRow {
  readonly id: string;
  readonly volumeId: string;
  readonly host: string;
  readonly storageNode: string;
  readonly accessMode: AccessMode;
  readonly namespace: string | null;
  readonly state: AttachmentState;
  readonly hostSide: HostSide;
  readonly epoch: number;
  readonly generation: number;
  readonly mediaGeneration: number;
  readonly paths: readonly Path[];
  readonly heldBy: string | null;
  readonly pendingOperation: string | null;
  readonly effect: EffectState | null;
  readonly leaseUntil: number;
  readonly problem: Problem | null;
  readonly createdAt: number;
  readonly version: number;
}

export interface HostRow {
  readonly name: string;
  readonly state: string;
  readonly ports: readonly Port[];
}

export interface StorageNodeRow {
  readonly name: string;
  readonly exporter: string;
  readonly backends: readonly string[];
  readonly canFence: boolean;
  readonly ports: readonly Port[];
}

export interface FlowPolicyRow {
  readonly id: string;
  /** '' stands for any. */
  readonly initiatorWwpn: string;
  readonly targetWwpn: string;
  readonly namespace: string;
  readonly action: FlowAction;
  readonly redirectTo: string | null;
  readonly qosPolicy: string | null;
  readonly state: FlowPolicyState;
  readonly heldBy: string | null;
  readonly pendingOperation: string | null;
  readonly createdAt: number;
  readonly version: number;
}

/** The difference to write. `null` removes a row; new rows have version 0. */
export interface GroupPlan {
  readonly volumes: readonly Changed<VolumeRow>[];
  readonly attachments: readonly Changed<AttachmentRow>[];
  readonly flowPolicies: readonly Changed<FlowPolicyRow>[];
  readonly poolDeltas: readonly PoolDelta[];
  /** LUN numbers taken (attachment id) or freed (null). */
  readonly luns: readonly LunChange[];
  readonly outcomes: readonly EndedOperation[];
  readonly batches: readonly BatchChange[];
  /** blocker (operation or batch id) -> batch that waits for it. */
  readonly blocks: readonly { readonly blocker: string; readonly batchSeq: number }[];
  readonly waits: readonly Wait[];
  /** Operations and batches whose end wakes those that wait for them, and whose own waits are over. */
  readonly unblocked: readonly string[];
  /** Batches that are to be looked at again because one of their rows was taken over. */
  readonly woken: readonly string[];
  readonly effects: readonly Effect[];
  readonly events: readonly Omit<Event, 'cursor' | 'at'>[];
}

export interface Changed<R> {
  readonly id: string;
  /** The row as it was loaded; null: it is new. Its version is the condition of the write. */
  readonly before: R | null;
  readonly after: R | null;
}

export type PoolCount = 'provisioning' | 'free' | 'allocated' | 'wiping' | 'failed' | 'retired' | 'hits' | 'misses';

export interface PoolDelta {
  readonly pool: string;
  readonly counts: Readonly<Partial<Record<PoolCount, number>>>;
}

export interface LunChange {
  readonly initiatorWwpn: string;
  readonly targetWwpn: string;
  readonly lun: number;
  readonly attachment: string | null;
}

export interface EndedOperation {
  readonly batch: PendingBatch;
  readonly index: number;
  readonly outcome: OperationOutcome;
}

export interface BatchChange {
  readonly batch: PendingBatch;
  readonly state: BatchState;
  readonly decision: Decision | null;
  readonly failure: BatchFailure | null;
  /** Whether the next advance is to look at it again. */
  readonly ready: boolean;
  /** When effects of it are in flight: until when their worker may take. */
  readonly leaseUntil: number;
  /** Why it cannot be carried on at present. */
  readonly parked: string | null;
}
