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
  if (asked) await finishDetach(context, held.target, records);
  else if (areOfFound(records)) await dropClaim(context, held.target, records);
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
  const { link, limits, logger } = context;
  const { attachmentId, epoch } = target;
  let proof: DeviceProof | null = null;
  try {
    proof = await removeDevice(context, target, records);
  } catch (error) {
    // What is still held is to be seen as such, and nobody may be given the volume meanwhile. Who holds it matters more
    // than that this could not be said; whoever repeats the release says it again.
    await link
      .call((controller) => controller.attachmentDelete(attachmentId, { waitMs: 0 }))
      .catch((err: unknown) =>
        logger.warn({ err, attachment: attachmentId }, 'the controller was not told of a detach'),
      );
    throw error;
  }
  const waitMs = areEngines(records) ? 0 : limits.releaseWaitMs;
  const gone = proof === null ? {} : { gone: { epoch, proof: `${proof.method} ${proof.device ?? ''}`.trim() } };
  await link
    .call((controller) => controller.attachmentDelete(attachmentId, { waitMs, ...gone }))
    .catch((error: unknown) => {
      if (!hasMovedOn(error)) throw error;
    });
}

async function finishDetach(
  context: AgentContext,
  target: DeviceTarget,
  records: readonly MountRecord[],
): Promise<void> {
  await dropClaim(context, target, records);
  await waitReleased(context, target.attachmentId);
}

/** It is exported as it was before: whoever has asked for it, a later mount or its user, ends it. */
async function dropClaim(context: AgentContext, target: DeviceTarget, records: readonly MountRecord[]): Promise<void> {
  const proof = await removeDevice(context, target, records);
  if (proof !== null) await reportGone(context, target, proof);
}

function areOfFound(records: readonly MountRecord[]): boolean {
  return records.length > 0 && records.every(({ found }) => found === true);
}

/**
 * To an engine the volume is unmounted once wish and proof are durable: whatever asks for it next, this host, another one
 * or a deletion, waits for the rest in the order of the controller's journal. People are shown the end.
 */
function areEngines(records: readonly MountRecord[]): boolean {
  return records.some(({ references }) => references !== undefined);
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
    return await context.host.detach(context.store.isJustAdopted ? atServedEpoch(context, target) : target);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (error.code === 'stale-epoch') return null;
    if (error.code === 'device-busy') await keepDetaching(context, records, error.problem.detail);
    throw error;
  }
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

const firstPollMs = 1;
const longestPollMs = 50;

/**
 * Until then the volume counts as attached, and whoever unmounted it could not delete it. The host's part is done:
 * a controller that takes longer finishes alone.
 */
async function waitReleased(context: AgentContext, attachmentId: string): Promise<void> {
  const { clock, link, limits } = context;
  const deadline = clock.monotonic() + limits.releaseWaitMs;
  for (let pauseMs = firstPollMs; clock.monotonic() < deadline; pauseMs = Math.min(2 * pauseMs, longestPollMs)) {
    const left = await link.call((controller) => controller.attachmentGet(attachmentId)).catch(() => null);
    if (left === null) return;
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

/** Whether the record's own mount is at its path: never touch what somebody else has put there. */
export function isMounted(inventory: HostInventory, record: MountRecord): boolean {
  return inventory.mounts.some(
    (mount) => !mount.foreignNamespace && mount.path === record.path && mount.volumeId === record.volumeId,
  );
}
