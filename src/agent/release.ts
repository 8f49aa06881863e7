/**
 * From a mounted filesystem to nothing, in this order: the mount, the device, the proof that it is gone, the word about
 * it. Only then may the controller unexport and give the volume away. The wish is durable in the journal here before.
 *
 * Every step is repeatable. Relies on the caller to hold the volume. A device that somebody still holds stays, with its
 * record in `detaching`; it is never reported gone.
 */
import { rmdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Failure } from '../domain/errors.ts';
import type { DeviceProof, DeviceTarget, HostInventory } from '../host/host.ts';
import { reportSide } from './bring-up.ts';
import type { AgentContext } from './context.ts';
import { hasMovedOn } from './controller-link.ts';
import type { HeldAttachment, MountRecord } from './mount-journal.ts';

export interface Release {
  readonly held: HeldAttachment;
  /** All mounts that stood on it; their records go with it. */
  readonly records: readonly MountRecord[];
  /** The controller already knows that it is to be detached. */
  readonly asked: boolean;
}

/** Ends the attachment, or the claim of one that was found. `device-busy`, `controller-unavailable`: it is to be repeated. */
export async function release(context: AgentContext, { held, records, asked }: Release): Promise<void> {
  if (asked || areOfFound(records)) await dropClaim(context, held.target, records);
  else await beginDetach(context, held.target, records);
  await removeOwnDirectories(context, records);
  // Not waited for: were it lost, the controller would say that the attachment is over, and the record would go then.
  context.journal.remove(records.map((record) => record.id)).catch((error: unknown) => {
    context.logger.error(
      { err: error, attachment: held.target.attachmentId },
      'a finished mount could not be forgotten',
    );
  });
}

/** The controller is told once, when everything here is done: wish and proof in one durable step. */
async function beginDetach(
  context: AgentContext,
  target: DeviceTarget,
  records: readonly MountRecord[],
): Promise<void> {
  const { link, logger } = context;
  const { attachmentId, epoch } = target;
  let proof: DeviceProof | null = null;
  try {
    proof = await removeDevice(context, target, records);
  } catch (error) {
    // What is still held is to be seen as such, and nobody may be given the volume meanwhile. Who holds it matters more
    // than that this could not be said; whoever repeats the release says it again.
    await link
      .call((controller) => controller.attachmentDelete(attachmentId))
      .catch((err: unknown) =>
        logger.warn({ err, attachment: attachmentId }, 'the controller was not told of a detach'),
      );
    throw error;
  }
  const gone = proof === null ? undefined : { epoch, proof: `${proof.method} ${proof.device ?? ''}`.trim() };
  await link
    .call((controller) => controller.attachmentDelete(attachmentId, gone))
    .catch((error: unknown) => {
      if (!hasMovedOn(error)) throw error;
    });
}

/** Whoever has asked for the attachment, a later mount or its user, ends it; or has done so, and the detach goes on. */
async function dropClaim(context: AgentContext, target: DeviceTarget, records: readonly MountRecord[]): Promise<void> {
  const proof = await removeDevice(context, target, records);
  if (proof !== null) await reportGone(context, target, proof);
}

function areOfFound(records: readonly MountRecord[]): boolean {
  return records.length > 0 && records.every(({ found }) => found === true);
}

/** Resolves once the mounts are forgotten for good; they must be gone. */
export async function forget(context: AgentContext, records: readonly MountRecord[]): Promise<void> {
  await removeOwnDirectories(context, records);
  await context.journal.remove(records.map((record) => record.id));
}

/**
 * Only the empty directories that this agent chose itself, or that its mount made; while the record is there, nobody
 * mounts at its path.
 */
async function removeOwnDirectories(
  { volumesDirectory }: AgentContext,
  records: readonly MountRecord[],
): Promise<void> {
  const own = records.filter(({ path, madePath }) => madePath === true || dirname(path) === volumesDirectory);
  // A directory that is absent, or not empty, stays as it is.
  await Promise.all(own.map((record) => rmdir(record.path).catch(() => undefined)));
}

/** Null where the host has already served a newer epoch: what is there is not ours to judge. */
export async function removeDevice(
  context: AgentContext,
  target: DeviceTarget,
  records: readonly MountRecord[],
): Promise<DeviceProof | null> {
  try {
    const proof = await context.host.detach(context.store.isJustAdopted ? atServedEpoch(context, target) : target);
    await toldBefore(context, target);
    return proof;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (error.code === 'stale-epoch') return null;
    if (error.code === 'device-busy') await keepDetaching(context, records, error.problem.detail);
    throw error;
  }
}

/** Arriving behind the word that the device is gone, the one that it is there would be believed. */
async function toldBefore({ reports }: AgentContext, { attachmentId }: DeviceTarget): Promise<void> {
  await reports.told(attachmentId).catch(() => undefined);
}

/** Of the former store's epochs none may be served again: those of the store that was adopted may be lower. */
function atServedEpoch({ host }: AgentContext, target: DeviceTarget): DeviceTarget {
  return { ...target, epoch: host.servedEpoch(target.volumeId) };
}

async function keepDetaching(context: AgentContext, records: readonly MountRecord[], heldBy: string): Promise<void> {
  await Promise.all(records.map((record) => context.journal.put({ ...record, state: 'detaching', heldBy })));
}

async function reportGone(context: AgentContext, target: DeviceTarget, proof: DeviceProof): Promise<void> {
  try {
    await reportSide(context, { id: target.attachmentId, epoch: target.epoch }, 'gone', proof);
  } catch (error) {
    if (!hasMovedOn(error)) throw error;
  }
}

/** Whether the record's own mount is at its path: never touch what somebody else has put there. */
export function isMounted(inventory: HostInventory, record: MountRecord): boolean {
  return inventory.mounts.some(
    (mount) => !mount.foreignNamespace && mount.path === record.path && mount.volumeId === record.volumeId,
  );
}
