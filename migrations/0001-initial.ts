import { type Kysely, sql } from 'kysely';

/** Which engine the statements are for: types are spelled so that one text serves both wherever it can. */
export type Engine = 'sqlite' | 'postgres';

/**
 * The first schema. Ids and JSON are text, times are integer milliseconds, booleans are 0 or 1.
 * Partial indexes cover exactly what the workers look for, so their size follows the work, not the volumes.
 */
export async function up(db: Kysely<unknown>, engine: Engine): Promise<void> {
  const clustered = engine === 'sqlite' ? ' WITHOUT ROWID' : '';
  for (const statement of statements(clustered)) await sql.raw(statement).execute(db);
}

const statements = (clustered: string): readonly string[] => [
  `CREATE TABLE meta (key text PRIMARY KEY NOT NULL, value text NOT NULL)${clustered}`,
  `CREATE TABLE sequences (name text PRIMARY KEY NOT NULL, value bigint NOT NULL)${clustered}`,
  `INSERT INTO sequences (name, value) VALUES ('commit', 0), ('journal', 0), ('lease', 0)`,
  `CREATE TABLE leases (name text PRIMARY KEY NOT NULL, owner text NOT NULL, token bigint NOT NULL, until bigint NOT NULL)${clustered}`,

  `CREATE TABLE pools (
    name text PRIMARY KEY NOT NULL, id text NOT NULL, backend text NOT NULL, storage_node text NOT NULL,
    volume_size_bytes bigint NOT NULL, min_free bigint NOT NULL, max_volumes bigint NOT NULL, filesystem text NOT NULL,
    state text NOT NULL, version bigint NOT NULL, created_at bigint NOT NULL, blocked_reason text,
    provisioning bigint NOT NULL DEFAULT 0, free bigint NOT NULL DEFAULT 0, allocated bigint NOT NULL DEFAULT 0,
    wiping bigint NOT NULL DEFAULT 0, failed bigint NOT NULL DEFAULT 0, retired bigint NOT NULL DEFAULT 0,
    hits bigint NOT NULL DEFAULT 0, misses bigint NOT NULL DEFAULT 0, deleting bigint NOT NULL DEFAULT 0,
    CHECK (provisioning >= 0 AND free >= 0 AND allocated >= 0 AND wiping >= 0 AND failed >= 0 AND retired >= 0)
  )${clustered}`,

  `CREATE TABLE volumes (
    id text PRIMARY KEY NOT NULL, name text, pool text, storage_node text NOT NULL, backend text NOT NULL,
    size_bytes bigint NOT NULL, state text NOT NULL, generation bigint NOT NULL, media_generation bigint NOT NULL,
    serial text NOT NULL, wwid text NOT NULL, filesystem text NOT NULL, formatted bigint NOT NULL,
    qos_policy text, labels text NOT NULL, epoch bigint NOT NULL, writer text, readers bigint NOT NULL,
    held_by text, pending_operation text, effect text, lease_until bigint NOT NULL, failure_reason text, wipe_proof text,
    created_at bigint NOT NULL, allocated_at bigint, version bigint NOT NULL
  )${clustered}`,
  'CREATE UNIQUE INDEX volumes_name ON volumes (name) WHERE name IS NOT NULL',
  `CREATE INDEX volumes_free ON volumes (pool, id) WHERE state = 'free'`,
  // Spelled as a disjunction: SQLite uses a partial index where a term of the query equals one of these.
  `CREATE INDEX volumes_work ON volumes (state, lease_until, id)
    WHERE state = 'provisioning' OR state = 'wiping' OR state = 'retired' OR state = 'failed'`,
  'CREATE INDEX volumes_held ON volumes (held_by) WHERE held_by IS NOT NULL',
  'CREATE INDEX volumes_pending ON volumes (pending_operation) WHERE pending_operation IS NOT NULL',
  'CREATE INDEX volumes_qos ON volumes (qos_policy) WHERE qos_policy IS NOT NULL',

  `CREATE TABLE attachments (
    id text PRIMARY KEY NOT NULL, volume_id text NOT NULL, host text NOT NULL, storage_node text NOT NULL,
    access_mode text NOT NULL, namespace text, state text NOT NULL, host_side text NOT NULL, host_boot_id text,
    epoch bigint NOT NULL, generation bigint NOT NULL, media_generation bigint NOT NULL, paths text NOT NULL,
    held_by text, pending_operation text, effect text, lease_until bigint NOT NULL, problem text, proof text,
    changed_at_commit bigint NOT NULL, created_at bigint NOT NULL, version bigint NOT NULL
  )${clustered}`,
  `CREATE UNIQUE INDEX attachments_writer ON attachments (volume_id)
    WHERE access_mode = 'single-writer' AND state <> 'quarantined'`,
  'CREATE UNIQUE INDEX attachments_volume_host ON attachments (volume_id, host)',
  'CREATE INDEX attachments_host ON attachments (host, id)',
  `CREATE INDEX attachments_work ON attachments (state, id) WHERE state IN ('exporting', 'detaching', 'quarantined')`,
  'CREATE INDEX attachments_held ON attachments (held_by) WHERE held_by IS NOT NULL',
  'CREATE INDEX attachments_pending ON attachments (pending_operation) WHERE pending_operation IS NOT NULL',

  // A LUN number's row stays when it is freed, so that the next one is found in the index instead of by counting.
  `CREATE TABLE luns (
    initiator_wwpn text NOT NULL, target_wwpn text NOT NULL, lun bigint NOT NULL, attachment text,
    PRIMARY KEY (initiator_wwpn, target_wwpn, lun)
  )${clustered}`,
  'CREATE INDEX luns_free ON luns (initiator_wwpn, target_wwpn, lun) WHERE attachment IS NULL',

  `CREATE TABLE hosts (
    name text PRIMARY KEY NOT NULL, id text NOT NULL, machine_id text NOT NULL, boot_id text NOT NULL, state text NOT NULL,
    simulated bigint NOT NULL, credential text, last_seen_at bigint NOT NULL, inventory_sequence bigint NOT NULL,
    version bigint NOT NULL
  )${clustered}`,
  `CREATE TABLE storage_nodes (
    name text PRIMARY KEY NOT NULL, id text NOT NULL, exporter text NOT NULL, backends text NOT NULL,
    can_fence bigint NOT NULL, last_seen_at bigint NOT NULL, version bigint NOT NULL
  )${clustered}`,
  // One table for both kinds of port: a WWPN is unique over everything.
  `CREATE TABLE ports (
    wwpn text PRIMARY KEY NOT NULL, kind text NOT NULL, owner text NOT NULL, fabric text NOT NULL, state text NOT NULL,
    synthesized bigint NOT NULL
  )${clustered}`,
  'CREATE INDEX ports_owner ON ports (kind, owner)',

  // '' stands for "any" (and for "no namespace"), so that one unique index serves; NULLs would be distinct.
  `CREATE TABLE flow_policies (
    id text PRIMARY KEY NOT NULL, initiator_wwpn text NOT NULL, target_wwpn text NOT NULL, namespace text NOT NULL,
    action text NOT NULL, redirect_to text, qos_policy text, state text NOT NULL, held_by text, pending_operation text,
    created_at bigint NOT NULL, version bigint NOT NULL
  )${clustered}`,
  'CREATE UNIQUE INDEX flow_policies_key ON flow_policies (initiator_wwpn, target_wwpn, namespace)',
  `CREATE INDEX flow_policies_namespace ON flow_policies (namespace, id) WHERE namespace <> ''`,
  'CREATE INDEX flow_policies_held ON flow_policies (held_by) WHERE held_by IS NOT NULL',
  'CREATE INDEX flow_policies_qos ON flow_policies (qos_policy) WHERE qos_policy IS NOT NULL',

  `CREATE TABLE qos_policies (
    name text PRIMARY KEY NOT NULL, id text NOT NULL, limits text NOT NULL, version bigint NOT NULL, created_at bigint NOT NULL
  )${clustered}`,

  `CREATE TABLE batches (
    seq bigint PRIMARY KEY NOT NULL, id text NOT NULL, state text NOT NULL, atomicity text NOT NULL, decision text,
    failure text, operations text NOT NULL, operation_count bigint NOT NULL, principal text NOT NULL,
    ready bigint NOT NULL, lease_until bigint NOT NULL, accepted_at bigint NOT NULL, ended_at bigint
  )`,
  'CREATE UNIQUE INDEX batches_id ON batches (id)',
  `CREATE INDEX batches_ready ON batches (seq) WHERE ready = 1`,
  `CREATE INDEX batches_ended ON batches (ended_at, seq) WHERE state = 'ended'`,
  `CREATE INDEX batches_open ON batches (seq, operation_count) WHERE state <> 'ended'`,
  'CREATE TABLE blocks (blocker text NOT NULL, batch_seq bigint NOT NULL, PRIMARY KEY (blocker, batch_seq))',
  'CREATE TABLE waits (operation text NOT NULL, key text NOT NULL, batch_seq bigint NOT NULL, PRIMARY KEY (operation, key))',
  'CREATE INDEX waits_key ON waits (key, batch_seq)',

  // position = seq of the batch * 1000 + index: appended in order, and found from the operation's id by its batch.
  `CREATE TABLE operations (
    position bigint PRIMARY KEY NOT NULL, batch text NOT NULL, type text NOT NULL, state text NOT NULL,
    resource text, existing bigint NOT NULL, problem text, principal text NOT NULL, accepted_at bigint NOT NULL,
    ended_at bigint NOT NULL
  )`,
  `CREATE INDEX operations_failed ON operations (position) WHERE state = 'failed'`,

  `CREATE TABLE idempotency (
    principal text NOT NULL, route text NOT NULL, key text NOT NULL, body_hash text NOT NULL, batch text NOT NULL,
    created_at bigint NOT NULL, PRIMARY KEY (principal, route, key)
  )${clustered}`,
  'CREATE INDEX idempotency_batch ON idempotency (batch)',
  // Keys of requests whose effect is not an operation, with the answer once there is one.
  `CREATE TABLE remembered_answers (
    principal text NOT NULL, route text NOT NULL, key text NOT NULL, body_hash text NOT NULL, status bigint, body text,
    created_at bigint NOT NULL, PRIMARY KEY (principal, route, key)
  )${clustered}`,
  'CREATE INDEX remembered_answers_age ON remembered_answers (created_at)',

  `CREATE TABLE events (commit_number bigint PRIMARY KEY NOT NULL, at bigint NOT NULL, items text NOT NULL)`,

  `CREATE TABLE tokens (
    id text PRIMARY KEY NOT NULL, name text NOT NULL, hash text NOT NULL, role text NOT NULL, host text,
    created_at bigint NOT NULL, expires_at bigint
  )${clustered}`,
  'CREATE UNIQUE INDEX tokens_hash ON tokens (hash)',
  'CREATE UNIQUE INDEX tokens_name ON tokens (name)',
];
