/** The tables as the query builder sees them; `migrations/` makes them. Integers stand for booleans and times. */
export interface Schema {
  meta: { key: string; value: string };
  sequences: { name: string; value: number };
  leases: { name: string; owner: string; token: number; until: number };
  pools: PoolTable;
  volumes: VolumeTable;
  attachments: AttachmentTable;
  luns: { initiator_wwpn: string; target_wwpn: string; lun: number; attachment: string | null };
  hosts: HostTable;
  storage_nodes: StorageNodeTable;
  ports: PortTable;
  flow_policies: FlowPolicyTable;
  qos_policies: { name: string; id: string; limits: string; version: number; created_at: number };
  batches: BatchTable;
  blocks: { blocker: string; batch_seq: number };
  waits: { operation: string; key: string; batch_seq: number };
  operations: OperationTable;
  idempotency: {
    principal: string;
    route: string;
    key: string;
    body_hash: string;
    batch: string;
    created_at: number;
  };
  remembered_answers: {
    principal: string;
    route: string;
    key: string;
    body_hash: string;
    status: number | null;
    body: string | null;
    created_at: number;
  };
  events: { commit_number: number; at: number; items: string };
  tokens: TokenTable;
}

export interface PoolTable {
  name: string;
  id: string;
  backend: string;
  storage_node: string;
  volume_size_bytes: number;
  min_free: number;
  max_volumes: number;
  filesystem: string;
  state: string;
  version: number;
  created_at: number;
  blocked_reason: string | null;
  provisioning: number;
  free: number;
  allocated: number;
  wiping: number;
  failed: number;
  retired: number;
  hits: number;
  misses: number;
  /** 1: it is being removed, which ends when its last volume is gone. */
  deleting: number;
}

export interface VolumeTable {
  id: string;
  name: string | null;
  pool: string | null;
  storage_node: string;
  backend: string;
  size_bytes: number;
  state: string;
  generation: number;
  media_generation: number;
  serial: string;
  wwid: string;
  filesystem: string;
  formatted: number;
  qos_policy: string | null;
  labels: string;
  epoch: number;
  /** The single-writer attachment, and how many read-only ones there are: attach and delete compare and swap these. */
  writer: string | null;
  readers: number;
  held_by: string | null;
  pending_operation: string | null;
  /** See `EffectState`; null: none is in flight. */
  effect: string | null;
  lease_until: number;
  failure_reason: string | null;
  /** Attempts to wipe or destroy it that failed by its own medium, since its last wipe. */
  medium_failures: number;
  wipe_proof: string | null;
  created_at: number;
  allocated_at: number | null;
  version: number;
}

export interface AttachmentTable {
  id: string;
  volume_id: string;
  host: string;
  storage_node: string;
  access_mode: string;
  namespace: string | null;
  state: string;
  host_side: string;
  host_boot_id: string | null;
  epoch: number;
  generation: number;
  media_generation: number;
  paths: string;
  held_by: string | null;
  pending_operation: string | null;
  effect: string | null;
  lease_until: number;
  problem: string | null;
  proof: string | null;
  /** Commit number of the last change: inventories that began before it say nothing about the attachment. */
  changed_at_commit: number;
  created_at: number;
  version: number;
}

export interface HostTable {
  name: string;
  id: string;
  machine_id: string;
  boot_id: string;
  state: string;
  simulated: number;
  credential: string | null;
  last_seen_at: number;
  inventory_sequence: number;
  version: number;
}

export interface StorageNodeTable {
  name: string;
  id: string;
  exporter: string;
  backends: string;
  can_fence: number;
  last_seen_at: number;
  version: number;
}

export interface PortTable {
  wwpn: string;
  kind: 'initiator' | 'target';
  owner: string;
  fabric: string;
  state: string;
  synthesized: number;
}

export interface FlowPolicyTable {
  id: string;
  initiator_wwpn: string;
  target_wwpn: string;
  namespace: string;
  action: string;
  redirect_to: string | null;
  qos_policy: string | null;
  state: string;
  held_by: string | null;
  pending_operation: string | null;
  created_at: number;
  version: number;
}

export interface BatchTable {
  seq: number;
  id: string;
  state: string;
  atomicity: string;
  decision: string | null;
  failure: string | null;
  operations: string;
  operation_count: number;
  principal: string;
  ready: number;
  lease_until: number;
  accepted_at: number;
  ended_at: number | null;
  /** Why it cannot be carried on at present. */
  parked: string | null;
}

export interface OperationTable {
  position: number;
  batch: string;
  type: string;
  state: string;
  resource: string | null;
  existing: number;
  problem: string | null;
  principal: string;
  accepted_at: number;
  ended_at: number;
}

export interface TokenTable {
  id: string;
  name: string;
  hash: string;
  role: string;
  host: string | null;
  created_at: number;
  expires_at: number | null;
}
