import type { Attachment } from '../domain/attachment.ts';
import type { FlowPolicy } from '../domain/flow-policy.ts';
import type { Volume, VolumeWipeProof } from '../domain/volume.ts';
import type { AttachmentRow, FlowPolicyRow, VolumeRow } from './group.ts';

/** Rows as the product shows them: the only place where a row becomes a public resource. */
export function volumeView(row: VolumeRow, attachments: readonly AttachmentRow[]): Volume {
  return {
    id: row.id,
    name: row.name,
    pool: row.pool,
    storageNode: row.storageNode,
    backend: row.backend,
    sizeBytes: row.sizeBytes,
    state: row.state,
    generation: row.generation,
    mediaGeneration: row.mediaGeneration,
    serial: row.serial,
    wwid: row.wwid,
    filesystem: row.filesystem,
    formatted: row.formatted,
    qosPolicy: row.qosPolicy,
    labels: row.labels,
    epoch: row.epoch,
    // While a creation is taken back, it has the operation's problem.
    failureReason: row.effect === 'undo' ? null : row.failureReason,
    createdAt: row.createdAt,
    allocatedAt: row.allocatedAt,
    wipeProof: wipeProofOf(row),
    attachments: attachments.map(({ id, host, state }) => ({ id, host, state })),
  };
}

/** As it is stored; proofs of former versions tell no time. */
export type StoredWipeProof = Omit<VolumeWipeProof, 'at'> & { readonly at?: number };

/** Of the present medium only. */
function wipeProofOf({ wipeProof, mediaGeneration }: VolumeRow): VolumeWipeProof | null {
  if (wipeProof === null) return null;
  const { generation, method, verifiedBytes, at } = JSON.parse(wipeProof) as StoredWipeProof;
  return generation === mediaGeneration ? { generation, method, verifiedBytes, at: at ?? null } : null;
}

export function attachmentView(row: AttachmentRow, volume: VolumeRow): Attachment {
  return {
    id: row.id,
    volumeId: row.volumeId,
    volume: volume.name,
    host: row.host,
    storageNode: row.storageNode,
    accessMode: row.accessMode,
    namespace: row.namespace,
    state: row.state,
    hostSide: row.hostSide,
    epoch: row.epoch,
    generation: row.generation,
    mediaGeneration: row.mediaGeneration,
    paths: row.paths,
    wwid: volume.wwid,
    serial: volume.serial,
    sizeBytes: volume.sizeBytes,
    filesystem: volume.filesystem,
    formatted: volume.formatted,
    createdAt: row.createdAt,
  };
}

export function flowPolicyView(row: FlowPolicyRow): FlowPolicy {
  return {
    id: row.id,
    initiatorWwpn: row.initiatorWwpn === '' ? null : row.initiatorWwpn,
    targetWwpn: row.targetWwpn === '' ? null : row.targetWwpn,
    namespace: row.namespace === '' ? null : row.namespace,
    action: row.action,
    redirectTo: row.redirectTo,
    qosPolicy: row.qosPolicy,
    state: row.state,
    version: row.version,
    createdAt: row.createdAt,
  };
}
