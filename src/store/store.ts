import type { Attachment, HostStateReport, Path } from '../domain/attachment.ts';
import type { Problem } from '../domain/errors.ts';
import type { Event } from '../domain/event.ts';
import type { FlowAction, FlowPolicy } from '../domain/flow-policy.ts';
import type { FlowDecision, FlowQuestion } from '../domain/flow-resolution.ts';
import type { Host, HostInventoryReport, HostRegistration, InventoryBegun, Port, StorageNode } from '../domain/host.ts';
import type { Atomicity, Batch, Operation, OperationSpec } from '../domain/operation.ts';
import type { Pool } from '../domain/pool.ts';
import type { Principal, Role, Token } from '../domain/principal.ts';
import type { QosLimits, QosPolicy } from '../domain/qos-policy.ts';
import type { FilesystemType, Labels, Volume, VolumeState } from '../domain/volume.ts';
import type {
  DestroyRequest,
  ExportRequest,
  ProvisionRequest,
  UnexportRequest,
  WipeProof,
  WipeRequest,
} from '../storage-node/storage-node.ts';
import type { EndedBatch } from './ended-batch.ts';

/**
 * The truth. Every method is one durable transaction (or one consistent read), takes and returns plain data that can
 * cross a thread, and throws `Failure` (its problem survives the crossing). Methods that take lists are set-based: the
 * number of their SQL statements does not depend on the lists' length. All can be repeated: a repeat after an unknown
 * outcome changes nothing.
 */
export interface Store extends JournalStore, IdempotencyStore, MaintenanceStore, ResourceStore {
  close(): Promise<void>;
}

// ---------------------------------------------------------------------------------------------------- operations

export interface JournalStore {
  /**
   * Appends batches to the journal in one commit, answers in order. The same idempotency key (principal, route, key)
   * with an equal body hash is answered with the batch it named first; with another hash `idempotency-key-reused`; over
   * the backlog limit `journal-full`. One batch's refusal never touches its neighbours.
   */
  batchAccept(batches: readonly NewBatch[]): Promise<readonly AcceptAnswer[]>;
  /**
   * `batchAccept` and `groupAdvance` in ONE commit: where the worker is in this process anyway, an operation without an
   * effect is accepted and has ended in the same moment. Where planning fails, the batches are accepted all the same.
   */
  batchAcceptAdvance(
    batches: readonly NewBatch[],
    options: AdvanceOptions,
  ): Promise<{ readonly answers: readonly AcceptAnswer[]; readonly group: GroupAnswer }>;
  /**
   * Plans and commits what the journal has waiting, oldest first, up to the limits, in one transaction; answers what
   * ended and which effects are to be carried out now. Serialised over all processes.
   */
  groupAdvance(options: AdvanceOptions): Promise<GroupAnswer>;
  /** Commits the outcomes of effects; answers what ended and which effects follow. */
  groupSettle(outcomes: readonly EffectOutcome[], options: AdvanceOptions): Promise<GroupAnswer>;
  /** Makes effects whose lease has run out (or, `all`, every effect in flight) due again. Answers how many. */
  effectsRecover(options: { readonly all: boolean }): Promise<number>;
  batchGet(id: string): Promise<Batch | null>;
  /** Those of the ids that have ended, with their operations. */
  batchListEnded(ids: readonly string[]): Promise<readonly Batch[]>;
  operationGet(id: string): Promise<Operation | null>;
  operationList(filter: OperationFilter, page: PageRequest): Promise<Page<Operation>>;
  backlog(): Promise<Backlog>;
}

/** Keys of requests whose effect is not an operation. */
export interface IdempotencyStore {
  /**
   * Takes an idempotency key for a request whose effect is not an operation (POST of a pool, a token ...), before the
   * effect. The same key with an equal body hash again: the answer once there is one, `idempotency-key-in-use` while
   * another request has it, and the key itself once that one's time is over; with another hash
   * `idempotency-key-reused`. Keys age out as those of batches do.
   */
  idempotencyBegin(request: IdempotentRequest): Promise<IdempotencyBegun>;
  /** Remembers the answer. False: another has the key by now, and its answer is the one that counts. */
  idempotencyEnd(request: IdempotentRequest, claim: number, answer: RememberedAnswer): Promise<boolean>;
  /** Leaves the key to whoever comes next, without an answer. */
  idempotencyRelease(request: IdempotentRequest, claim: number): Promise<void>;
}

export interface IdempotentRequest {
  /** Id of who asks. */
  readonly principal: string;
  readonly route: string;
  readonly key: string;
  readonly bodyHash: string;
}

/** A key as the request that took it holds it. */
export interface HeldKey {
  readonly request: IdempotentRequest;
  readonly claim: number;
  /** False: an earlier request with the key came as far as this one, and may have had its effect. */
  readonly first: boolean;
}

export interface RememberedAnswer {
  readonly status: number;
  /** JSON text. */
  readonly body: string;
}

export type IdempotencyBegun =
  | { readonly answer: RememberedAnswer }
  | ({ readonly answer: null } & Omit<HeldKey, 'request'>);

export interface NewBatch {
  readonly id: string;
  readonly atomicity: Atomicity;
  readonly operations: readonly OperationSpec[];
  readonly principal: Principal;
  readonly idempotency: { readonly route: string; readonly key: string; readonly bodyHash: string } | null;
}

export type AcceptAnswer =
  | { readonly accepted: true; readonly batch: string; readonly replay: boolean }
  | { readonly accepted: false; readonly problem: Problem };

export interface AdvanceOptions {
  /** Under which the worker acts: without it nothing is planned any more. Null: no other worker can be on the store. */
  readonly lease: LeaseTerm | null;
  readonly maxBatches: number;
  readonly maxOperations: number;
  readonly effectLeaseMs: number;
}

/** A lease as one owner holds it without interruption. */
export interface LeaseTerm {
  readonly name: string;
  readonly token: number;
}

export type Effect = { readonly operation: string; readonly storageNode: string } & (
  | { readonly kind: 'provision'; readonly request: ProvisionRequest }
  | { readonly kind: 'destroy'; readonly request: DestroyRequest }
  | { readonly kind: 'export'; readonly request: ExportRequest }
  | { readonly kind: 'unexport'; readonly request: UnexportRequest }
);

export interface EffectOutcome {
  readonly effect: Effect;
  readonly result:
    | { readonly ok: true; readonly formatted?: boolean }
    | { readonly ok: false; readonly problem: Problem };
}

export interface GroupAnswer {
  /** Batches that ended in this commit, with all their operations. */
  readonly ended: readonly EndedBatch[];
  readonly effects: readonly Effect[];
  /** Batches and operations that this commit carried on. */
  readonly batches: number;
  readonly operations: number;
  /** More is waiting than the limits let through. */
  readonly more: boolean;
  /** Pools whose free count fell under their minimum. */
  readonly poolsBelowMinimum: readonly string[];
  /** Bugs that were met, and what became of the batches; mostly none. */
  readonly mistakes: readonly Mistake[];
}

/**
 * `failed`: the batch has ended; `undoing`: what it did is taken back; `parked`: it stays as it is and is tried again;
 * `journalled`: batches that were to be planned at once were accepted alone.
 */
export interface Mistake {
  readonly batch: string | null;
  readonly outcome: MistakeOutcome;
  readonly message: string;
  readonly stack: string;
}

export type MistakeOutcome = 'failed' | 'undoing' | 'parked' | 'journalled';

export interface Backlog {
  readonly acceptedBatches: number;
  readonly acceptedOperations: number;
  readonly runningBatches: number;
  /** Batches that a bug keeps from being carried on: a few of them, with the reason. */
  readonly parkedBatches: readonly { readonly id: string; readonly reason: string }[];
  readonly oldestAcceptedAt: number | null;
}

// --------------------------------------------------------------------------------------------------- maintenance

export interface MaintenanceStore {
  storeStamp(): Promise<{ readonly storeId: string; readonly highestGeneration: number }>;
  /** Raises the store's generation above the given one (`fcr adopt`). */
  generationRaise(above: number): Promise<void>;
  /**
   * The store takes the place of `former` (null: of none but itself as it was), under a new id. Changes nothing where it
   * has taken the place of `former` before.
   */
  storeReplaces(former: string | null): Promise<void>;
  /**
   * Free volumes of a storage node whose bytes cannot be trusted (a store that was restored does not know who wrote
   * there since) go back to be wiped. Answers how many.
   */
  freeVolumesDistrust(storageNode: string): Promise<number>;
  /**
   * A lease by name, in the database's time; null when another owner holds it. The token rises with every owner, who has
   * to wait for the change under way: it may be planned under the lease as it was.
   */
  leaseTake(name: string, owner: string, ttlMs: number): Promise<number | null>;
  /**
   * Ends the leases of work (effects, provisioning, wipes) that last longer than one of their kind can: the clock has been
   * set back since they were given. Answers how many.
   */
  leasesCurtail(): Promise<number>;
  leaseDrop(name: string, owner: string): Promise<void>;
  /** Whether anybody holds it now. */
  leaseHeld(name: string): Promise<boolean>;

  /** Reserves slots and makes volumes `provisioning` up to the pool's minimum (never over its maximum). */
  refillReserve(pool: string, atMost: number): Promise<readonly PoolEffect<ProvisionRequest>[]>;
  /** `provisioning` volumes of pools whose lease ran out, re-issued under a higher generation. */
  refillRecover(options: {
    readonly all: boolean;
    readonly atMost: number;
  }): Promise<readonly PoolEffect<ProvisionRequest>[]>;
  refillSettle(results: readonly VolumeSettle[]): Promise<void>;

  /** Takes volumes to wipe: `wiping`, no live attachment; each under a new generation. */
  wipeTake(options: { readonly all: boolean; readonly atMost: number }): Promise<readonly ErasureEffect<WipeRequest>[]>;
  /** `wiping -> free` under a new serial and WWID; `failed`, or tried again after a while, where it was not wiped. */
  wipeSettle(results: readonly VolumeSettle[]): Promise<void>;
  /** Volumes to destroy: wiping ones without a pool or in a draining pool, and retired ones. */
  destroyTake(options: {
    readonly all: boolean;
    readonly atMost: number;
  }): Promise<readonly ErasureEffect<DestroyRequest>[]>;
  destroySettle(results: readonly VolumeSettle[]): Promise<void>;
  wipeBacklog(): Promise<number>;
  /** By pool, how many volumes are `wiping` whose last wipe did not succeed; pools without any are left out. */
  wipesFailed(): Promise<ReadonlyMap<string, number>>;
  /** Free volumes over what a draining or resized pool may keep become `retired`. Answers how many. */
  poolTrim(): Promise<number>;
  poolBlock(pool: string, reason: string | null): Promise<void>;

  /** The storage node has answered just now. */
  storageNodeSeen(storageNode: string): Promise<void>;
  /** What the node should hold of what it showed, and export; read AFTER the node's inventory. */
  nodeIntent(storageNode: string, about: NodeInventoryKeys): Promise<NodeIntent>;
  /** Marks hosts that have been silent as offline. Answers their names. */
  hostsExpire(silentMs: number): Promise<readonly string[]>;
  /** Removes ended batches, their operations, keys, expired tokens and events, older than their age. Answers rows removed. */
  retentionPurge(limits: {
    readonly operationsMs: number;
    readonly eventsMs: number;
    readonly atMost: number;
  }): Promise<number>;
  counters(): Promise<StoreCounters>;
}

export interface PoolEffect<R> {
  readonly storageNode: string;
  readonly request: R;
}

export interface ErasureEffect<R = WipeRequest | DestroyRequest> extends PoolEffect<R> {
  /** How many attempts have failed by the volume's own medium since it was last wiped. */
  readonly mediumFailures: number;
}

export interface VolumeSettle {
  readonly volumeId: string;
  readonly generation: number;
  readonly result:
    | { readonly ok: true; readonly formatted?: boolean; readonly proof?: WipeProof }
    | {
        readonly ok: false;
        readonly problem: Problem;
        readonly quarantine: boolean;
        /** As it is kept, with what has just failed; absent: none. */
        readonly mediumFailures?: number;
      };
}

export interface NodeInventoryKeys {
  readonly volumeIds: readonly string[];
  readonly attachmentIds: readonly string[];
}

/** What the store says of the given volumes, and all attachments that the node should show. */
export interface NodeIntent {
  readonly volumes: readonly {
    readonly id: string;
    readonly state: VolumeState;
    readonly generation: number;
    readonly mediaGeneration: number;
  }[];
  readonly attachments: readonly { readonly attachment: Attachment; readonly export: ExportRequest }[];
  readonly highestGeneration: number;
}

export interface StoreCounters {
  /** Whether changes find space on the disk. */
  readonly hasSpace: boolean;
  /** Rows inserted, updated and deleted so far, as the database itself counts them. */
  readonly rowChanges: number;
  readonly pools: readonly Pool[];
  readonly operationsWaiting: number;
  readonly wipeBacklog: number;
  readonly attachmentsByState: Readonly<Record<string, number>>;
}

// ----------------------------------------------------------------------------------------------------- resources

export interface PageRequest {
  readonly pageSize: number;
  readonly pageToken: string | null;
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly nextPageToken: string | null;
}

export interface VolumeFilter {
  readonly state?: VolumeState;
  readonly pool?: string;
  readonly host?: string;
  /** `key` or `key=value`. */
  readonly label?: string;
}

export interface OperationFilter {
  readonly state?: string;
  readonly type?: string;
}

export interface AttachmentFilter {
  readonly state?: string;
  readonly host?: string;
  readonly volume?: string;
}

export interface FlowPolicyFilter {
  readonly namespace?: string;
  readonly initiatorWwpn?: string;
  readonly targetWwpn?: string;
}

export interface NewPool {
  readonly name: string;
  readonly backend: string;
  readonly storageNode?: string;
  readonly volumeSizeBytes: number;
  readonly minFree: number;
  readonly maxVolumes: number;
  readonly filesystem: FilesystemType;
}

export interface PoolChange {
  readonly minFree?: number;
  readonly maxVolumes?: number;
  readonly draining?: boolean;
}

export interface Created<T> {
  readonly resource: T;
  /** It was there already, with equal fields. */
  readonly existing: boolean;
}

export interface NewQosPolicy extends QosLimits {
  readonly name: string;
}

export interface StorageNodeRegistration {
  readonly name: string;
  readonly exporter: string;
  readonly backends: readonly string[];
  readonly canFence: boolean;
  readonly targetPorts: readonly Port[];
}

export interface ResourceStore {
  poolCreate(pool: NewPool): Promise<Created<Pool>>;
  /**
   * The pool that a new store begins with: once in the life of a store, whoever asks and whatever becomes of the pool.
   * Answers whether it was made now.
   */
  poolCreateFirst(pool: NewPool): Promise<boolean>;
  poolGet(name: string): Promise<Pool | null>;
  poolList(page: PageRequest): Promise<Page<Pool>>;
  /** `ifVersion` null: any. `etag-mismatch`, `pool-not-found`. */
  poolUpdate(name: string, change: PoolChange, ifVersion: number | null): Promise<Pool>;
  /** Refused with `pool-in-use` while a volume of it is allocated; otherwise drains and, once empty, removes it. */
  poolDelete(name: string): Promise<{ readonly removed: boolean }>;

  /** By name or by id. */
  volumeGet(nameOrId: string): Promise<Volume | null>;
  volumeList(filter: VolumeFilter, page: PageRequest): Promise<Page<Volume>>;
  /** Clears the quarantine of a failed volume: it is wiped and returned. */
  volumeClear(nameOrId: string): Promise<Volume>;

  attachmentGet(id: string): Promise<Attachment | null>;
  attachmentList(filter: AttachmentFilter, page: PageRequest): Promise<Page<Attachment>>;
  /** Answers in order. `stale-epoch` where the attachment has moved on. `gone` lets a waiting detach go on. */
  hostStateReport(
    reports: readonly HostStateReport[],
  ): Promise<readonly ({ ok: true; attachment: Attachment } | { ok: false; problem: Problem })[]>;

  /** A host is bound to its machine-id and, with a host token, to that token: otherwise `host-conflict`. */
  hostRegister(host: HostRegistration, principal: Principal): Promise<Host>;
  hostGet(name: string): Promise<Host | null>;
  hostList(page: PageRequest): Promise<Page<Host>>;
  /** `resource-in-use` while it has attachments. */
  hostDelete(name: string): Promise<void>;
  inventoryBegin(host: string): Promise<InventoryBegun>;
  /** Releases what the host no longer has (other boot id, or gone), and answers what the host should have. */
  inventoryReport(
    report: HostInventoryReport,
  ): Promise<{ readonly wanted: readonly Attachment[]; readonly unwanted: readonly string[] }>;

  storageNodeRegister(node: StorageNodeRegistration): Promise<StorageNode>;
  storageNodeList(page: PageRequest): Promise<Page<StorageNode>>;
  storageNodeGet(name: string): Promise<StorageNode | null>;

  flowPolicyGet(id: string): Promise<FlowPolicy | null>;
  flowPolicyList(filter: FlowPolicyFilter, page: PageRequest): Promise<Page<FlowPolicy>>;
  flowPolicyUpdate(id: string, change: FlowPolicyChange, ifVersion: number): Promise<FlowPolicy>;
  flowResolve(question: FlowQuestion): Promise<FlowDecision>;

  qosPolicyCreate(policy: NewQosPolicy): Promise<Created<QosPolicy>>;
  qosPolicyGet(name: string): Promise<QosPolicy | null>;
  qosPolicyList(page: PageRequest): Promise<Page<QosPolicy>>;
  qosPolicyUpdate(name: string, policy: QosLimits, ifVersion: number): Promise<QosPolicy>;
  qosPolicyDelete(name: string, ifVersion: number | null): Promise<void>;

  /**
   * The secret itself is never stored, only its SHA-256 (hex). Under an idempotency key the token's id is the key's, and
   * it takes the place of what an earlier request made there; `idempotency-key-in-use`: another has overtaken this one.
   */
  tokenCreate(token: NewToken, key?: HeldKey | null): Promise<Token>;
  tokenList(page: PageRequest): Promise<Page<Token>>;
  tokenDelete(id: string): Promise<void>;
  tokenFind(hash: string): Promise<Principal | null>;

  /** Events after the cursor (null: from the oldest kept), in order, without gaps. */
  eventsAfter(cursor: string | null, atMost: number): Promise<readonly Event[]>;
  /** The newest cursor, for a stream that starts now. */
  eventsHead(): Promise<string>;
}

export interface FlowPolicyChange {
  readonly action?: FlowAction;
  readonly redirectTo?: string | null;
  readonly qosPolicy?: string | null;
}

export interface NewToken {
  readonly id: string;
  readonly name: string;
  readonly hash: string;
  readonly role: Role;
  readonly host: string | null;
  readonly expiresAt: number | null;
}

export type { FlowDecision, FlowQuestion, HostInventoryReport, HostRegistration, HostStateReport, Labels, Path };
