/**
 * From a granted attachment to a mounted filesystem: device, proof, filesystem, mount, and then the word about it.
 *
 * Every step is repeatable, so that doing it all again is how a half-done or lost mount is repaired. Relies on the
 * caller to hold the volume, and on the attachment being claimed: the controller gives the volume to nobody else before
 * this host has said that the device is gone.
 */
import type { Attachment, HostStateReport } from '../domain/attachment.ts';
import { assert, Failure } from '../domain/errors.ts';
import type { FilesystemType } from '../domain/volume.ts';
import type { Device, DeviceProof, MountOptions } from '../host/host.ts';
import { type AgentContext, heldOf, targetOf } from './context.ts';
import type { MountRecord } from './mount-journal.ts';

/** Answers the record as `mounted`, durable. That the device is there is told from then on (`AgentContext.reports`). */
export async function bringUp(
  context: AgentContext,
  record: MountRecord,
  attachment: Attachment,
): Promise<MountRecord> {
  const target = targetOf(attachment);
  const device = await context.host.attach(target);
  assert(device.proof.kind === 'present', 'bring-up-proof-present');
  if (!attachment.formatted) await formatOnce(context, device, attachment);
  await context.host.mount(device, target, mountOptions(record, attachment.filesystem));
  const mounted = { ...record, state: 'mounted', held: heldOf(attachment), device: device.path, heldBy: null } as const;
  await context.journal.put(mounted);
  if (attachment.hostSide !== 'attached') {
    context.reports.begin(attachment.id, () => reportSide(context, attachment, 'attached', device.proof));
  }
  return mounted;
}

/**
 * The store alone knows whether a filesystem is complete: what the device shows may be half of one. The controller has
 * `formatted` before the first mount, or a crash in between would have the next one format over data.
 */
async function formatOnce(context: AgentContext, device: Device, attachment: Attachment): Promise<void> {
  if (attachment.accessMode === 'read-only-many') {
    throw new Failure('volume-not-ready', `${attachment.volume ?? attachment.volumeId} has no filesystem to read yet.`);
  }
  await context.host.format(device, targetOf(attachment), attachment.filesystem);
  await reportSide(context, attachment, 'formatted', null);
}

export async function reportSide(
  context: AgentContext,
  attachment: { readonly id: string; readonly epoch: number },
  side: HostStateReport['side'],
  proof: DeviceProof | null,
): Promise<Attachment> {
  const { hostName, bootId } = context;
  const evidence = proof === null ? null : { ...proof };
  const report = { attachment: attachment.id, epoch: attachment.epoch, host: hostName, bootId, side, proof: evidence };
  return await context.link.call((controller) => controller.hostStateReport(report));
}

function mountOptions(record: MountRecord, filesystem: FilesystemType): MountOptions {
  const { path, readOnly, uid, gid, mode } = record;
  return {
    path,
    filesystem,
    readOnly,
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(mode === undefined ? {} : { mode }),
  };
}
