/**
 * One volume of this host, from what a scan found toward what the controller wants: mounts that are still granted are
 * made again, what was on its way out goes, and what nobody knows of any more is removed.
 *
 * Relies on the caller to hold the volume and on nobody having worked on it since the scan began. It asks for the
 * attachment again before it acts: the scan's word for it may have aged. What the controller does not know (any more)
 * counts only if its store is the followed one afterwards: it may have been replaced since the run began.
 */
import type { Attachment } from '../domain/attachment.ts';
import { Failure } from '../domain/errors.ts';
import type { DeviceFound, DeviceTarget, HostInventory } from '../host/host.ts';
import { bringUp, reportSide } from './bring-up.ts';
import { type AgentContext, heldOf, isGranted } from './context.ts';
import { type HeldAttachment, isWanted, type MountRecord } from './mount-journal.ts';
import { forget, isMounted, release, removeDevice } from './release.ts';

export interface VolumeView {
  readonly volumeId: string;
  readonly inventory: HostInventory;
  readonly records: readonly MountRecord[];
  readonly devices: readonly DeviceFound[];
  /** This host's attachment of the volume, as the controller listed it after the scan. */
  readonly listed: Attachment | null;
}

/**
 * `left`: somebody works on it. `kept`: nothing to do after all. `remade`: mounts were made or reported again.
 * `released`: something was removed. `foreign`: the controller's store knows less than this host: nothing is touched.
 */
export type VolumeOutcome = 'left' | 'kept' | 'remade' | 'released' | 'foreign' | 'failed';

/** Whether reality, memory and intent differ. */
export function needsWork(view: VolumeView): boolean {
  const { records, listed, devices, inventory } = view;
  if (records.length === 0) return devices.length > 0 || isLeftover(listed);
  const [first] = records;
  const epoch = first?.held?.target.epoch ?? -1;
  if (!isGranted(listed, epoch) || listed.hostSide !== 'attached') return true;
  return records.some((record) => !isWanted(record) || !isMounted(inventory, record));
}

export async function settleVolume(context: AgentContext, view: VolumeView): Promise<VolumeOutcome> {
  const listed = view.listed === null ? null : await attachmentNow(context, view.listed.id);
  const records = withHeld(view.records, listed);
  const byAttachment = Map.groupBy(records, (record) => record.held?.target.attachmentId ?? null);
  let outcome: VolumeOutcome = 'kept';
  for (const [attachmentId, standing] of byAttachment) {
    const attachment = attachmentId === listed?.id ? listed : await attachmentNow(context, attachmentId);
    outcome = await settleRecords(context, view, attachment, standing);
  }
  if (records.length > 0) return outcome;
  if (isLeftover(listed)) return await releaseUnrecorded(context, listed);
  return await removeOrphans(context, view, listed);
}

async function attachmentNow(context: AgentContext, id: string | null): Promise<Attachment | null> {
  return id === null ? null : await context.link.call((controller) => controller.attachmentGet(id));
}

/** A record from before the attach was answered stands on whatever attachment this host has claimed since. */
function withHeld(records: readonly MountRecord[], listed: Attachment | null): readonly MountRecord[] {
  if (listed === null || !isClaimed(listed)) return records;
  return records.map((record) => (record.held === null ? { ...record, held: heldOf(listed) } : record));
}

/** The host has said that it has, or is about to make, a device. */
export function isClaimed(attachment: Attachment): boolean {
  return attachment.hostSide === 'claimed' || attachment.hostSide === 'attached';
}

/** Without a record: claimed once by this host, and not ended. What it never claimed is a user's, and waits for one. */
function isLeftover(listed: Attachment | null): listed is Attachment {
  if (listed === null || listed.hostSide === 'none') return false;
  return isClaimed(listed) || isGranted(listed, listed.epoch);
}

async function settleRecords(
  context: AgentContext,
  view: VolumeView,
  attachment: Attachment | null,
  records: readonly MountRecord[],
): Promise<VolumeOutcome> {
  const held = records[0]?.held ?? null;
  if (held === null) return await forgetUnanswered(context, view, records);
  if (attachment === null || attachment.epoch !== held.target.epoch) {
    return await abandon(context, view, held, records);
  }
  if (!isGranted(attachment, held.target.epoch)) return await withdraw(context, view, held, records);
  return await settleGranted(context, view, attachment, records);
}

/** No attachment came of it. The kernel was not touched, or a device of ours is left over. */
async function forgetUnanswered(
  context: AgentContext,
  view: VolumeView,
  records: readonly MountRecord[],
): Promise<VolumeOutcome> {
  await context.store.follow();
  if (await isInUseUnknown(context, view)) return 'foreign';
  await unmountAll(context, view, records);
  for (const device of view.devices) await context.host.detach(await orphanTarget(context, device));
  await forget(context, records);
  return 'released';
}

/** The controller has given the attachment to others or to nobody: what is left here goes, and is not made again. */
async function abandon(
  context: AgentContext,
  view: VolumeView,
  held: HeldAttachment,
  records: readonly MountRecord[],
): Promise<VolumeOutcome> {
  await context.store.follow();
  if (view.devices.length > 0 && (await isStoreBehind(context, held.target))) return 'foreign';
  await unmountAll(context, view, records);
  await removeDevice(context, held.target, records);
  await forget(context, records);
  return 'released';
}

/**
 * A volume with a live device cannot have been deleted, nor its epoch have fallen. A controller that says so speaks for
 * another store, or for an older copy of this one: its silence is no reason to unmount anything.
 */
async function isStoreBehind(
  context: AgentContext,
  { volumeId, epoch }: Pick<DeviceTarget, 'volumeId' | 'epoch'>,
): Promise<boolean> {
  // What the former store had given out, the store in its place need not know.
  if (context.store.isJustAdopted) return false;
  const volume = await context.link.call((controller) => controller.volumeGet(volumeId));
  const isBehind = volume === null || volume.epoch < epoch;
  if (isBehind) context.logger.error({ volume: volumeId, epoch }, 'the store is behind this host');
  return isBehind;
}

/** Nobody remembers why it is here, and somebody uses it. What is mounted nowhere can go without loss. */
async function isInUseUnknown(context: AgentContext, { volumeId, inventory }: VolumeView): Promise<boolean> {
  if (!inventory.mounts.some((mount) => mount.volumeId === volumeId)) return false;
  return await isStoreBehind(context, { volumeId, epoch: context.host.servedEpoch(volumeId) });
}

/** The controller wants it back. */
async function withdraw(
  context: AgentContext,
  view: VolumeView,
  held: HeldAttachment,
  records: readonly MountRecord[],
): Promise<VolumeOutcome> {
  const ending = await Promise.all(records.map((record) => asEnding(context, record)));
  await unmountAll(context, view, ending);
  await release(context, { held, records: ending, asked: true });
  return 'released';
}

async function asEnding(context: AgentContext, record: MountRecord): Promise<MountRecord> {
  if (record.state === 'detaching') return record;
  return await context.journal.put({ ...record, state: 'unmounting' });
}

async function settleGranted(
  context: AgentContext,
  view: VolumeView,
  attachment: Attachment,
  records: readonly MountRecord[],
): Promise<VolumeOutcome> {
  const wanted = records.filter((record) => isWanted(record));
  const ending = records.filter((record) => !isWanted(record));
  await unmountAll(context, view, ending);
  if (wanted.length === 0) {
    await release(context, { held: heldOf(attachment), records: ending, asked: false });
    return 'released';
  }
  await forget(context, ending);
  return await restore(context, view, attachment, wanted);
}

/** After a reboot, or where a mount was lost: only under an attachment that the controller has just confirmed. */
async function restore(
  context: AgentContext,
  view: VolumeView,
  attachment: Attachment,
  wanted: readonly MountRecord[],
): Promise<VolumeOutcome> {
  const missing = wanted.filter((record) => !isMounted(view.inventory, record));
  const again = attachment.hostSide === 'attached' ? missing : wanted;
  if (again.length === 0) return 'kept';
  const claimed = isClaimed(attachment) ? attachment : await reportSide(context, attachment, 'claimed', null);
  // What was reported before a reboot is not true any more: the first mount reports again.
  let confirmed: Attachment = { ...claimed, hostSide: 'claimed' };
  for (const record of again) {
    await bringUp(context, record, confirmed);
    await context.reports.told(attachment.id);
    confirmed = { ...confirmed, formatted: true, hostSide: 'attached' };
  }
  return 'remade';
}

async function unmountAll(context: AgentContext, view: VolumeView, records: readonly MountRecord[]): Promise<void> {
  for (const record of records) if (isMounted(view.inventory, record)) await unmountOne(context, record);
}

async function unmountOne(context: AgentContext, record: MountRecord): Promise<void> {
  try {
    await context.host.unmount(record.path);
  } catch (error) {
    if (error instanceof Failure && error.code === 'device-busy') {
      await context.journal.put({ ...record, heldBy: error.problem.detail });
    }
    throw error;
  }
}

/** Claimed by this host, and nobody remembers why: a crash came before the record, or the record was lost. */
async function releaseUnrecorded(context: AgentContext, attachment: Attachment): Promise<VolumeOutcome> {
  const asked = !isGranted(attachment, attachment.epoch);
  await release(context, { held: heldOf(attachment), records: [], asked });
  return 'released';
}

async function removeOrphans(
  context: AgentContext,
  view: VolumeView,
  listed: Attachment | null,
): Promise<VolumeOutcome> {
  if (view.devices.length > 0) await context.store.follow();
  if (await isInUseUnknown(context, view)) return 'foreign';
  for (const device of view.devices) await context.host.detach(await orphanTarget(context, device));
  if (listed !== null && listed.state === 'detaching' && view.devices.length > 0) {
    await withdraw(context, view, heldOf(listed), []);
  }
  return view.devices.length > 0 ? 'released' : 'kept';
}

/**
 * A device without an attachment, as a target: it is named by its medium alone. Where the store does not know the volume,
 * the epoch is the one that was served here last: whichever store is put back can go on from it.
 */
async function orphanTarget(context: AgentContext, device: DeviceFound): Promise<DeviceTarget> {
  const { volumeId, mediaGeneration } = device;
  const volume = await context.link.call((controller) => controller.volumeGet(volumeId));
  return {
    attachmentId: 'none',
    volumeId,
    mediaGeneration,
    epoch: volume?.epoch ?? context.host.servedEpoch(volumeId),
    paths: [],
    serial: volume?.serial ?? '',
    wwid: volume?.wwid ?? '',
    sizeBytes: volume?.sizeBytes ?? 0,
    accessMode: 'single-writer',
  };
}
