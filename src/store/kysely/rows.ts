import type { AccessMode, AttachmentState, HostSide, Path } from '../../domain/attachment.ts';
import type { Problem } from '../../domain/errors.ts';
import type { Event } from '../../domain/event.ts';
import type { FlowAction, FlowPolicyState } from '../../domain/flow-policy.ts';
import type { Host, HostState, Port, PortState, StorageNode } from '../../domain/host.ts';
import type { Pool, PoolState } from '../../domain/pool.ts';
import type { Role, Token } from '../../domain/principal.ts';
import type { QosLimits, QosPolicy } from '../../domain/qos-policy.ts';
import type { FilesystemType, Labels, VolumeState } from '../../domain/volume.ts';
import type {
  AttachmentRow,
  EffectState,
  FlowPolicyRow,
  HostRow,
  PoolRow,
  StorageNodeRow,
  VolumeRow,
} from '../group.ts';
import type { ColumnType } from './engine.ts';
import type {
  AttachmentTable,
  FlowPolicyTable,
  HostTable,
  PoolTable,
  PortTable,
  Schema,
  StorageNodeTable,
  TokenTable,
  VolumeTable,
} from './schema.ts';

/**
 * Table records <-> rows of a group, and records -> public resources: the one place that knows how a column is spelled.
 *
 * Relies on the CHECKs and the writers here: a text that was written from a union type is read back as that type.
 * A column that is forgotten in `<table>Columns` would silently not be written by a bulk statement; the contract suite
 * writes every row and reads it back.
 */
type Columns<R> = Readonly<Record<keyof R & string, ColumnType>>;

/** What is written of a volume; what its wipe proved, or how often it failed, is written by the wipe alone. */
export type VolumeRecord = Omit<VolumeTable, 'wipe_proof' | 'medium_failures'>;

export const volumeColumns: Columns<VolumeRecord> = {
  id: 'text',
  name: 'text',
  pool: 'text',
  storage_node: 'text',
  backend: 'text',
  size_bytes: 'bigint',
  state: 'text',
  generation: 'bigint',
  media_generation: 'bigint',
  serial: 'text',
  wwid: 'text',
  filesystem: 'text',
  formatted: 'bigint',
  qos_policy: 'text',
  labels: 'text',
  epoch: 'bigint',
  writer: 'text',
  readers: 'bigint',
  held_by: 'text',
  pending_operation: 'text',
  effect: 'text',
  lease_until: 'bigint',
  failure_reason: 'text',
  created_at: 'bigint',
  allocated_at: 'bigint',
  version: 'bigint',
};

export function volumeRow(record: VolumeTable): VolumeRow {
  return {
    id: record.id,
    name: record.name,
    pool: record.pool,
    storageNode: record.storage_node,
    backend: record.backend,
    sizeBytes: record.size_bytes,
    state: record.state as VolumeState,
    generation: record.generation,
    mediaGeneration: record.media_generation,
    serial: record.serial,
    wwid: record.wwid,
    filesystem: record.filesystem as FilesystemType,
    formatted: record.formatted === 1,
    qosPolicy: record.qos_policy,
    labels: JSON.parse(record.labels) as Labels,
    epoch: record.epoch,
    writer: record.writer,
    readers: record.readers,
    heldBy: record.held_by,
    pendingOperation: record.pending_operation,
    effect: record.effect as EffectState | null,
    leaseUntil: record.lease_until,
    failureReason: record.failure_reason,
    wipeProof: record.wipe_proof,
    createdAt: record.created_at,
    allocatedAt: record.allocated_at,
    version: record.version,
  };
}

export function volumeRecord(row: VolumeRow): VolumeRecord {
  return {
    id: row.id,
    name: row.name,
    pool: row.pool,
    storage_node: row.storageNode,
    backend: row.backend,
    size_bytes: row.sizeBytes,
    state: row.state,
    generation: row.generation,
    media_generation: row.mediaGeneration,
    serial: row.serial,
    wwid: row.wwid,
    filesystem: row.filesystem,
    formatted: row.formatted ? 1 : 0,
    qos_policy: row.qosPolicy,
    labels: JSON.stringify(row.labels),
    epoch: row.epoch,
    writer: row.writer,
    readers: row.readers,
    held_by: row.heldBy,
    pending_operation: row.pendingOperation,
    effect: row.effect,
    lease_until: row.leaseUntil,
    failure_reason: row.failureReason,
    created_at: row.createdAt,
    allocated_at: row.allocatedAt,
    version: row.version,
  };
}

/** What the host itself reports is written by its reports alone; `changed_at_commit` is the writer's commit. */
export type AttachmentRecord = Omit<AttachmentTable, 'host_boot_id' | 'proof' | 'changed_at_commit'>;

export const attachmentColumns: Columns<AttachmentRecord> = {
  id: 'text',
  volume_id: 'text',
  host: 'text',
  storage_node: 'text',
  access_mode: 'text',
  namespace: 'text',
  state: 'text',
  host_side: 'text',
  epoch: 'bigint',
  generation: 'bigint',
  media_generation: 'bigint',
  paths: 'text',
  held_by: 'text',
  pending_operation: 'text',
  effect: 'text',
  lease_until: 'bigint',
  problem: 'text',
  created_at: 'bigint',
  version: 'bigint',
};

export function attachmentRow(record: AttachmentRecord): AttachmentRow {
  return {
    id: record.id,
    volumeId: record.volume_id,
    host: record.host,
    storageNode: record.storage_node,
    accessMode: record.access_mode as AccessMode,
    namespace: record.namespace,
    state: record.state as AttachmentState,
    hostSide: record.host_side as HostSide,
    epoch: record.epoch,
    generation: record.generation,
    mediaGeneration: record.media_generation,
    paths: JSON.parse(record.paths) as readonly Path[],
    heldBy: record.held_by,
    pendingOperation: record.pending_operation,
    effect: record.effect as EffectState | null,
    leaseUntil: record.lease_until,
    problem: record.problem === null ? null : (JSON.parse(record.problem) as Problem),
    createdAt: record.created_at,
    version: record.version,
  };
}

export function attachmentRecord(row: AttachmentRow): AttachmentRecord {
  return {
    id: row.id,
    volume_id: row.volumeId,
    host: row.host,
    storage_node: row.storageNode,
    access_mode: row.accessMode,
    namespace: row.namespace,
    state: row.state,
    host_side: row.hostSide,
    epoch: row.epoch,
    generation: row.generation,
    media_generation: row.mediaGeneration,
    paths: JSON.stringify(row.paths),
    held_by: row.heldBy,
    pending_operation: row.pendingOperation,
    effect: row.effect,
    lease_until: row.leaseUntil,
    problem: row.problem === null ? null : JSON.stringify(row.problem),
    created_at: row.createdAt,
    version: row.version,
  };
}

export const flowPolicyColumns: Columns<FlowPolicyTable> = {
  id: 'text',
  initiator_wwpn: 'text',
  target_wwpn: 'text',
  namespace: 'text',
  action: 'text',
  redirect_to: 'text',
  qos_policy: 'text',
  state: 'text',
  held_by: 'text',
  pending_operation: 'text',
  created_at: 'bigint',
  version: 'bigint',
};

export function flowPolicyRow(record: FlowPolicyTable): FlowPolicyRow {
  return {
    id: record.id,
    initiatorWwpn: record.initiator_wwpn,
    targetWwpn: record.target_wwpn,
    namespace: record.namespace,
    action: record.action as FlowAction,
    redirectTo: record.redirect_to,
    qosPolicy: record.qos_policy,
    state: record.state as FlowPolicyState,
    heldBy: record.held_by,
    pendingOperation: record.pending_operation,
    createdAt: record.created_at,
    version: record.version,
  };
}

export function flowPolicyRecord(row: FlowPolicyRow): FlowPolicyTable {
  return {
    id: row.id,
    initiator_wwpn: row.initiatorWwpn,
    target_wwpn: row.targetWwpn,
    namespace: row.namespace,
    action: row.action,
    redirect_to: row.redirectTo,
    qos_policy: row.qosPolicy,
    state: row.state,
    held_by: row.heldBy,
    pending_operation: row.pendingOperation,
    created_at: row.createdAt,
    version: row.version,
  };
}

export function poolRow(record: PoolTable): PoolRow {
  return {
    name: record.name,
    backend: record.backend,
    storageNode: record.storage_node,
    volumeSizeBytes: record.volume_size_bytes,
    minFree: record.min_free,
    maxVolumes: record.max_volumes,
    filesystem: record.filesystem as FilesystemType,
    state: record.state as PoolState,
    blockedReason: record.blocked_reason,
    provisioning: record.provisioning,
    free: record.free,
    allocated: record.allocated,
    wiping: record.wiping,
    failed: record.failed,
    retired: record.retired,
  };
}

export function poolResource(record: PoolTable): Pool {
  const row = poolRow(record);
  return {
    id: record.id,
    name: row.name,
    backend: row.backend,
    storageNode: row.storageNode,
    volumeSizeBytes: row.volumeSizeBytes,
    minFree: row.minFree,
    maxVolumes: row.maxVolumes,
    filesystem: row.filesystem,
    state: row.state,
    version: record.version,
    createdAt: record.created_at,
    status: {
      provisioning: row.provisioning,
      free: row.free,
      allocated: row.allocated,
      wiping: row.wiping,
      failed: row.failed,
      retired: row.retired,
      hits: record.hits,
      misses: record.misses,
      blockedReason: row.blockedReason,
    },
  };
}

export const portColumns: Columns<PortTable> = {
  wwpn: 'text',
  kind: 'text',
  owner: 'text',
  fabric: 'text',
  state: 'text',
  synthesized: 'bigint',
};

export function port(record: PortTable): Port {
  return {
    wwpn: record.wwpn,
    fabric: record.fabric,
    state: record.state as PortState,
    synthesized: record.synthesized === 1,
  };
}

export function portRecord(source: Port, kind: PortTable['kind'], owner: string): PortTable {
  return {
    wwpn: source.wwpn,
    kind,
    owner,
    fabric: source.fabric,
    state: source.state,
    synthesized: source.synthesized ? 1 : 0,
  };
}

/** `ports` may hold those of others too. They are answered in the order of their names. */
function portsOf(ports: readonly PortTable[], kind: PortTable['kind'], owner: string): readonly Port[] {
  const own = ports.filter((record) => record.kind === kind && record.owner === owner);
  return own.sort((left, right) => (left.wwpn < right.wwpn ? -1 : 1)).map(port);
}

export function hostRow(record: HostTable, ports: readonly PortTable[]): HostRow {
  return { name: record.name, state: record.state, ports: portsOf(ports, 'initiator', record.name) };
}

export function hostResource(record: HostTable, ports: readonly PortTable[]): Host {
  return {
    id: record.id,
    name: record.name,
    machineId: record.machine_id,
    bootId: record.boot_id,
    state: record.state as HostState,
    simulated: record.simulated === 1,
    initiatorPorts: portsOf(ports, 'initiator', record.name),
    lastSeenAt: record.last_seen_at,
    inventorySequence: record.inventory_sequence,
    version: record.version,
  };
}

export function storageNodeRow(record: StorageNodeTable, ports: readonly PortTable[]): StorageNodeRow {
  return {
    name: record.name,
    exporter: record.exporter,
    backends: JSON.parse(record.backends) as readonly string[],
    canFence: record.can_fence === 1,
    ports: portsOf(ports, 'target', record.name),
  };
}

export function storageNodeResource(record: StorageNodeTable, ports: readonly PortTable[]): StorageNode {
  const { ports: targetPorts, ...row } = storageNodeRow(record, ports);
  return { id: record.id, ...row, targetPorts, lastSeenAt: record.last_seen_at, version: record.version };
}

/** Nothing enforces a QoS policy yet, and the resource says so. */
export function qosPolicyResource(record: Schema['qos_policies']): QosPolicy {
  return {
    id: record.id,
    name: record.name,
    ...(JSON.parse(record.limits) as QosLimits),
    enforced: false,
    version: record.version,
    createdAt: record.created_at,
  };
}

export function tokenResource(record: TokenTable): Token {
  return {
    id: record.id,
    name: record.name,
    role: record.role as Role,
    host: record.host,
    createdAt: record.created_at,
    expiresAt: record.expires_at,
  };
}

type EventItem = readonly [Event['kind'], string, string | null, string];

/** One commit's events, in the order in which they were told. */
export function eventResources(record: Schema['events']): readonly Event[] {
  const items = JSON.parse(record.items) as readonly EventItem[];
  return items.map(([kind, id, name, state], index) => ({
    cursor: `${record.commit_number}.${index}`,
    at: record.at,
    kind,
    id,
    name,
    state,
  }));
}
