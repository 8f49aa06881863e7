import { batchOf, type OperationParams } from '../domain/operation.ts';
import type { AttachmentRow } from '../store/group.ts';
import {
  blockerOf,
  failed,
  type OperationContext,
  type OperationDefinition,
  running,
  succeeded,
  waitsForHost,
} from './definition.ts';
import type { Model, Step } from './model.ts';
import { issueUnexport, reissue } from './volume-attach.ts';

type Params = OperationParams['volume.detach'];

/**
 * Takes a volume from a host. Where the host has (or may have) the device, it first has to prove that the device is
 * gone; then the export is removed, and only then the LUN number is free.
 */
export const volumeDetach: OperationDefinition<'volume.detach'> = {
  type: 'volume.detach',
  deferred: true,

  references(params, collect) {
    collect.attachments.add(params.attachment);
    collect.storageNodes = true;
  },

  keys: (params, model) => {
    const row = model.attachments.get(params.attachment);
    return row === null ? [`attachment:${params.attachment}`] : [`attachment:${row.id}`, `volume:${row.volumeId}`];
  },

  plan(model, operation, params) {
    const row = model.attachments.get(params.attachment);
    // Another detach, which overtook this one, has done what it was to do.
    if (row === null) return operation.committed ? succeeded(null) : notFound(params);
    if (row.pendingOperation === operation.id) return goOn(model, operation, row);
    if (params.gone !== undefined) return letGo(model, operation, row, params.gone.epoch);
    const refusal = refuseForce(model, row, params) ?? (isOvertaken(row, params) ? null : blockerOf(row, operation));
    if (refusal !== null) return refusal;
    if (row.pendingOperation !== null) model.woken.push(batchOf(row.pendingOperation).batch);
    return begin(model, operation, row, params);
  },

  check(model, operation, params) {
    const row = model.attachments.get(params.attachment);
    if (row === null) return notFound(params);
    const refusal = refuseForce(model, row, params) ?? blockerOf(row, operation);
    if (refusal !== null) return refusal;
    model.leaving.set(row.id, operation.batch);
    model.putAttachment(row);
    return null;
  },
};

function begin(model: Model, operation: OperationContext, row: AttachmentRow, params: Params): Step {
  // A quarantined attachment gave the volume up when it was cut off, and somebody else may write to it by now.
  const state = row.state === 'quarantined' ? 'quarantined' : 'detaching';
  const detaching = { state, pendingOperation: operation.id, heldBy: null } as const;
  if (state !== row.state) model.tell('attachment', row.id, null, state);
  if (hostHasLetGo(row) || params.force === true) {
    issueUnexport(model, reissue(model, row, { ...detaching, effect: 'issued' }), operation.id);
    return running;
  }
  model.putAttachment({ ...row, ...detaching, effect: null, leaseUntil: 0 });
  return waitsForHost;
}

/** The host's word comes with the wish: whoever waited for it goes on, and this operation behind him. */
function letGo(model: Model, operation: OperationContext, row: AttachmentRow, epoch: number): Step {
  if (row.epoch !== epoch) {
    return failed('stale-epoch', `Attachment "${row.id}" is at epoch ${row.epoch}, the host's word at ${epoch}.`);
  }
  const gone = { ...row, hostSide: 'gone' } as const;
  const blocker = blockerOf(row, operation);
  if (blocker === null) return begin(model, operation, gone, { attachment: row.id });
  if (isWaitingForHost(row) && row.pendingOperation !== null) {
    model.putAttachment(gone);
    model.woken.push(batchOf(row.pendingOperation).batch);
  }
  return blocker;
}

function goOn(model: Model, operation: OperationContext, row: AttachmentRow): Step {
  if (row.leaseUntil > model.context.now) return running;
  if (row.effect !== 'issued' && !hostHasLetGo(row)) return waitsForHost;
  issueUnexport(model, reissue(model, row, { effect: 'issued' }), operation.id);
  return running;
}

/** Force does not wait behind a detach that waits for the host: that host may never answer. */
function isOvertaken(row: AttachmentRow, params: Params): boolean {
  return params.force === true && row.heldBy === null && isWaitingForHost(row);
}

function isWaitingForHost({ state, effect }: AttachmentRow): boolean {
  return (state === 'detaching' || state === 'quarantined') && effect === null;
}

/** The host never claimed the attachment, so no device can exist, or it has proved that the device is gone. */
export function hostHasLetGo(row: AttachmentRow): boolean {
  return row.hostSide === 'none' || row.hostSide === 'gone';
}

function refuseForce(model: Model, row: AttachmentRow, params: Params): Step | null {
  if (params.force !== true || hostHasLetGo(row) || model.storageNodes.get(row.storageNode)?.canFence === true)
    return null;
  return failed(
    'cannot-fence',
    `Storage node "${row.storageNode}" cannot cut host "${row.host}" off by itself: the host has to confirm that the device is gone.`,
    { related: { host: row.host, attachment: row.id } },
  );
}

function notFound(params: Params): Step {
  return failed('attachment-not-found', `There is no attachment "${params.attachment}".`, { field: 'attachment' });
}
