/**
 * Mounts of this host, one volume at a time: what the local API and the frontends ask for.
 *
 * Several mounts of one volume share its attachment; the last one to go detaches it. A call that fails leaves nothing
 * behind, or a record that the reconciler finishes. Relies on the journal for what a crash interrupts.
 */
import { join } from 'node:path';
import type { Attachment } from '../domain/attachment.ts';
import { assert, errorCatalogue, Failure } from '../domain/errors.ts';
import { isId, newId } from '../domain/ids.ts';
import { parseName } from '../domain/names.ts';
import { bringUp, reportSide } from './bring-up.ts';
import { type AgentContext, heldOf, isGranted } from './context.ts';
import { hasMovedOn, isAway, isUnknownOutcome } from './controller-link.ts';
import type { GrantedAttachment } from './controller-port.ts';
import type { HeldAttachment, MountRecord } from './mount-journal.ts';
import { isVacant, parseMountPath, resolvedPath } from './mount-path.ts';
import type { Registration } from './registration.ts';
import { forget, isMounted, release } from './release.ts';
import { SharedMounts, withReferencesOf } from './shared-mounts.ts';
import type { VolumeGate } from './volume-gate.ts';

export interface MountRequest {
  /** Name or id. */
  readonly volume: string;
  /** The name by which the caller has just looked `volume`, an id, up: it is not asked for once more. */
  readonly knownAs?: string | undefined;
  /** Absolute and normal; absent: below the agent's own directory, by the volume's name. */
  readonly path?: string | undefined;
  readonly readOnly?: boolean | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly mode?: number | undefined;
  readonly namespace?: string | undefined;
  /** Who needs it: the mount is shared by all that name themselves, and ends with the last one (`unmountReference`). */
  readonly reference?: string | undefined;
}

export interface MountAnswer extends MountRecord {
  /** It was there already. */
  readonly existing: boolean;
}

export interface UnmountOptions {
  /** Users that engines have on record do not count. */
  readonly force?: boolean;
}

export interface MountsOptions {
  readonly context: AgentContext;
  readonly gate: VolumeGate;
  readonly registration: Registration;
  /** Something was left for the reconciler. */
  readonly nudge: () => void;
}

export class Mounts {
  readonly #context: AgentContext;
  readonly #options: MountsOptions;
  readonly #shared: SharedMounts;

  constructor(options: MountsOptions) {
    this.#context = options.context;
    this.#options = options;
    this.#shared = new SharedMounts({ ...options, unmountAlone: (record) => this.#unmountAlone(record) });
  }

  list(): readonly MountRecord[] {
    return this.#context.journal.list();
  }

  /** The same request again repairs and answers the mount that is there. */
  async mount(request: MountRequest): Promise<MountAnswer> {
    if (!isId(request.volume)) parseName(request.volume, 'volume');
    const [{ volume, volumeId }, stated] = await Promise.all([
      this.#identify(request),
      request.path === undefined ? null : this.#place(request.path),
    ]);
    // No name has the form of an id: where an engine finds it is never where a person has it.
    const ownName = request.reference === undefined ? volume : volumeId;
    const place = stated ?? (await this.#place(join(this.#context.volumesDirectory, ownName)));
    const wish = this.#newRecord(request, { volume, volumeId, ...place });
    return await this.#options.gate.run(volumeId, async () => {
      const answer = await this.#mountAlone(wish);
      if (wish.references !== undefined) this.#shared.answered(answer.id);
      return answer;
    });
  }

  /**
   * `mount-not-found`; `device-busy` when something holds it (it then goes as soon as that ends); `volume-in-use`, and
   * nothing is changed, while container engines need it. `force` ends it all the same where no process has it.
   */
  async unmount(id: string, { force = false }: UnmountOptions = {}): Promise<void> {
    const record = this.#context.journal.get(id);
    if (record === undefined) throw new Failure('mount-not-found', `There is no mount ${id} on this host.`);
    await this.#options.gate
      .run(record.volumeId, () => this.#unmountUnneeded(id, force))
      .catch((error: unknown) => {
        if (this.#context.journal.get(id)?.state !== 'mounted') this.#options.nudge();
        throw error;
      });
  }

  /** Takes one user's need of the volume back (`MountRequest.reference`). */
  unmountReference(volume: string, reference: string): Promise<void> {
    return this.#shared.release(volume, reference);
  }

  /** Ends mounts whose users are gone without a word. */
  endUnused(volume: string): Promise<void> {
    return this.#shared.endUnused(volume);
  }

  async #place(stated: string): Promise<Pick<MountRecord, 'path' | 'madePath'>> {
    const path = await resolvedPath(
      parseMountPath(stated),
      (known) => this.#context.journal.atPath(known) !== undefined,
    );
    return (await isVacant(path)) ? { path, madePath: true } : { path };
  }

  /** Names are bound to ids once. A volume that is mounted here keeps its name, so it need not be asked for. */
  async #identify(request: MountRequest): Promise<{ readonly volume: string; readonly volumeId: string }> {
    const { volume: nameOrId, knownAs } = request;
    if (knownAs !== undefined) return { volume: knownAs, volumeId: nameOrId };
    const { journal, link } = this.#context;
    const known = journal.list().find((each) => each.volume === nameOrId || each.volumeId === nameOrId);
    if (known?.state === 'mounted') return known;
    const volume = await link.call((controller) => controller.volumeGet(nameOrId));
    if (volume === null) throw new Failure('volume-not-found', `There is no volume ${nameOrId}.`, { field: 'volume' });
    return { volume: volume.name ?? volume.id, volumeId: volume.id };
  }

  #newRecord(request: MountRequest, what: Pick<MountRecord, 'volume' | 'volumeId' | 'path' | 'madePath'>): MountRecord {
    const { uid, gid, mode } = request;
    return {
      ...what,
      id: newId('mnt', this.#context.clock.now()),
      readOnly: request.readOnly ?? false,
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
      ...(mode === undefined ? {} : { mode }),
      namespace: request.namespace ?? null,
      ...(request.reference === undefined ? {} : { references: [request.reference], bootId: this.#context.bootId }),
      state: 'attaching',
      held: null,
      device: null,
      heldBy: null,
      createdAt: this.#context.clock.now(),
    };
  }

  async #mountAlone(wish: MountRecord): Promise<MountAnswer> {
    const { journal } = this.#context;
    await this.#refuseOutlived(wish);
    const present = journal.atPath(wish.path);
    if (present?.state === 'mounted') return { ...(await this.#again(present, wish)), existing: true };
    await this.#options.registration.ensure();
    await this.#context.store.ensure();
    const mayHaveAsked = await this.#finishLeftovers(wish.volumeId);
    this.#checkRoom(wish);
    const shared = journal.ofVolume(wish.volumeId).find((each) => each.state === 'mounted')?.held ?? null;
    const attachment = shared === null ? await this.#claim(wish, mayHaveAsked) : await this.#join(wish, shared);
    return { ...(await this.#complete(wish, attachment)), existing: false };
  }

  /** A volume keeps its id when it returns to its pool: what is mounted here under another name is another owner's. */
  async #refuseOutlived(wish: MountRecord): Promise<void> {
    const mounted = this.#context.journal.ofVolume(wish.volumeId).find(({ state }) => state === 'mounted');
    if (mounted === undefined || mounted.volume === wish.volume) return;
    assert(mounted.held !== null, 'mounted-without-attachment');
    await this.#confirm(mounted.held);
    throw outlived(wish);
  }

  /** No `await` between this check and the record that reserves the path. */
  #checkRoom(wish: MountRecord): void {
    const { journal, limits } = this.#context;
    const holder = journal.atPath(wish.path);
    if (holder !== undefined) throw pathBusy(holder);
    if (journal.list().length >= limits.mounts) {
      throw new Failure('limit-reached', `This host has ${limits.mounts} mounts already.`);
    }
  }

  async #again(present: MountRecord, wish: MountRecord): Promise<MountRecord> {
    if (!isSameWish(present, wish)) throw pathBusy(present);
    assert(present.held !== null, 'mounted-without-attachment');
    const again = withReferencesOf(present, wish);
    const attachment = await this.#confirmIfNeeded(present.held, again);
    if (attachment === null) return await this.#context.journal.put(again);
    return await this.#bringUp(again, attachment);
  }

  /** Null: the controller is away, and the device alone keeps the volume here. One more user of it changes nothing. */
  async #confirmIfNeeded(held: HeldAttachment, record: MountRecord): Promise<Attachment | null> {
    try {
      return await this.#confirm(held);
    } catch (error) {
      const isShared = record.references !== undefined;
      if (isShared && isAway(error) && isMounted(await this.#context.host.inventory(), record)) return null;
      throw error;
    }
  }

  /**
   * What a crash or a busy device left of this volume ends first; `device-busy` while it cannot. Answers whether this
   * host may have an attachment of which it never heard.
   */
  async #finishLeftovers(volumeId: string): Promise<boolean> {
    const leftovers = this.#context.journal.ofVolume(volumeId).filter(({ state }) => state !== 'mounted');
    for (const record of leftovers) {
      if (record.held === null) await this.#forgetUnanswered(record);
      else await this.#unmountAlone(record);
    }
    return leftovers.some(({ held }) => held === null);
  }

  /** Nobody knows whether its attach came about: the next claim takes the attachment up, or the reconciler ends it. */
  async #forgetUnanswered(record: MountRecord): Promise<void> {
    const { host } = this.#context;
    if (isMounted(await host.inventory(), record)) await host.unmount(record.path);
    await forget(this.#context, [record]);
  }

  /**
   * The intent is durable here and the claim at the controller before the host does anything. An attachment that is there
   * is the user's who asked for it, unless this host `mayHaveAsked`.
   */
  async #claim(record: MountRecord, mayHaveAsked: boolean): Promise<GrantedAttachment> {
    const [stored, created] = await Promise.allSettled([this.#context.journal.put(record), this.#create(record)]);
    if (created.status === 'rejected') {
      await this.#forgetIntent(record, created.reason);
      throw created.reason;
    }
    const attachment = mayHaveAsked ? { ...created.value, existing: false } : created.value;
    if (stored.status === 'rejected') await this.#giveBack(record, attachment, stored.reason);
    // Between look-up and claim it has become somebody else's.
    if (!isOf(attachment, record)) await this.#giveBack(record, attachment, outlived(record));
    return attachment;
  }

  async #giveBack(record: MountRecord, attachment: GrantedAttachment, reason: unknown): Promise<never> {
    await release(this.#context, { held: heldOf(attachment), records: [failedOn(attachment, record)], asked: false });
    throw reason;
  }

  async #bringUp(record: MountRecord, attachment: Attachment): Promise<MountRecord> {
    const mounted = await bringUp(this.#context, record, await this.#claimed(attachment));
    this.#context.reports.told(attachment.id).catch((error: unknown) => this.#untold(mounted, error));
    return mounted;
  }

  /** The controller was not told, or does not grant it any more: the reconciler tells it, or takes the mount away. */
  #untold({ id, volume }: MountRecord, error: unknown): void {
    this.#context.logger.warn({ err: error, mount: id, volume }, 'the controller was not told of a mount');
    this.#options.nudge();
  }

  /** An attachment that was there before may not count as claimed; it does before the host makes a device. */
  async #claimed(attachment: Attachment): Promise<Attachment> {
    if (attachment.hostSide === 'attached' || attachment.hostSide === 'claimed') return attachment;
    return await reportSide(this.#context, attachment, 'claimed', null);
  }

  /** Repeats an attach that is refused for the moment, such as while the last detach is still being settled. */
  async #create(record: MountRecord): Promise<GrantedAttachment> {
    const { clock, hostName, limits, link } = this.#context;
    const request = {
      volume: record.volumeId,
      host: hostName,
      accessMode: record.readOnly ? ('read-only-many' as const) : ('single-writer' as const),
      claim: true,
      ...(record.namespace === null ? {} : { namespace: record.namespace }),
    };
    const deadline = clock.monotonic() + limits.attachRetryMs;
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
      try {
        return await link.call((controller) => controller.attachmentCreate(request));
      } catch (error) {
        if (!isPassing(error) || clock.monotonic() + pauseMs > deadline) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  async #forgetIntent(record: MountRecord, reason: unknown): Promise<void> {
    const { journal } = this.#context;
    if (!isUnknownOutcome(reason)) {
      await journal.remove([record.id]);
      return;
    }
    if (journal.get(record.id) !== undefined) await journal.put({ ...record, state: 'unmounting' });
    this.#options.nudge();
  }

  async #join(record: MountRecord, held: HeldAttachment): Promise<GrantedAttachment> {
    if (!record.readOnly && held.target.accessMode === 'read-only-many') {
      throw new Failure('volume-in-use', `${record.volume} is attached to this host for reading only.`);
    }
    const [stored, confirmed] = await Promise.allSettled([this.#context.journal.put(record), this.#confirm(held)]);
    if (confirmed.status === 'rejected') await this.#context.journal.remove([record.id]);
    if (stored.status === 'rejected') throw stored.reason;
    if (confirmed.status === 'rejected') throw confirmed.reason;
    // This host's own: once the mounts before it are gone, nobody else would end it.
    return { ...confirmed.value, existing: false };
  }

  /** The controller still grants it. */
  async #confirm(held: HeldAttachment): Promise<Attachment> {
    const { attachmentId, epoch } = held.target;
    const attachment = await this.#attachmentOf(held);
    if (!isGranted(attachment, epoch)) {
      this.#options.nudge();
      throw new Failure('volume-not-ready', `The controller is taking attachment ${attachmentId} away.`);
    }
    return attachment;
  }

  async #complete(record: MountRecord, attachment: GrantedAttachment): Promise<MountRecord> {
    try {
      return await this.#bringUp(record, attachment);
    } catch (error) {
      await this.#undo(record, attachment, error);
      throw error;
    }
  }

  async #undo(record: MountRecord, attachment: GrantedAttachment, cause: unknown): Promise<void> {
    const { host, journal, logger } = this.#context;
    try {
      const held = heldOf(attachment);
      const ending = await journal.put({ ...failedOn(attachment, record), state: 'unmounting', held });
      if (isMounted(await host.inventory(), ending)) await host.unmount(ending.path);
      await this.#leave(ending, held, hasMovedOn(cause));
    } catch (error) {
      logger.warn({ err: error, mount: record.id, volume: record.volume }, 'a failed mount is left to the reconciler');
      this.#options.nudge();
    }
  }

  async #unmountUnneeded(id: string, force: boolean): Promise<void> {
    const record = this.#context.journal.get(id);
    if (record === undefined) return;
    if (force && record.references !== undefined) return await this.#shared.endForgotten(record);
    await this.#shared.refuseWhileNeeded(record);
    await this.#unmountAlone(record);
  }

  async #unmountAlone(record: MountRecord): Promise<void> {
    const { held } = record;
    if (held === null) {
      await this.#forgetUnanswered(record);
      this.#options.nudge();
      return;
    }
    const { ending, asked } = await this.#intend(record, held);
    await this.#unmountPath(record);
    await this.#leave(ending, held, asked);
  }

  /** Durable here; and the controller answers, or nothing is touched: an unmount that cannot end does not begin. */
  async #intend(
    record: MountRecord,
    held: HeldAttachment,
  ): Promise<{ readonly ending: MountRecord; readonly asked: boolean }> {
    const { journal } = this.#context;
    const ending: MountRecord = record.state === 'detaching' ? record : { ...record, state: 'unmounting' };
    const [seen, stored] = await Promise.allSettled([this.#attachmentOf(held), journal.put(ending)]);
    if (stored.status === 'rejected') throw stored.reason;
    if (seen.status === 'rejected') {
      await this.#takeBack(record);
      throw seen.reason;
    }
    return { ending, asked: !isGranted(seen.value, held.target.epoch) };
  }

  /** Null: it is over. A store that this host does not follow knows nothing of it (`store-foreign`). */
  async #attachmentOf({ target }: HeldAttachment): Promise<Attachment | null> {
    const { store, link } = this.#context;
    await store.ensure();
    return await link.call((controller) => controller.attachmentGet(target.attachmentId));
  }

  async #unmountPath(record: MountRecord): Promise<void> {
    try {
      await this.#context.host.unmount(record.path);
    } catch (error) {
      if (error instanceof Failure && error.code === 'device-busy') await this.#takeBack(record);
      throw error;
    }
  }

  /** Nothing was changed: what was mounted stays so, and is not unmounted behind its user's back later. */
  async #takeBack(record: MountRecord): Promise<void> {
    if (record.state === 'mounted') await this.#context.journal.put(record);
  }

  async #leave(ending: MountRecord, held: HeldAttachment, asked: boolean): Promise<void> {
    if (this.#sharers(ending, held).length > 0) await forget(this.#context, [ending]);
    else await release(this.#context, { held, records: [ending], asked });
  }

  #sharers(record: MountRecord, held: HeldAttachment): readonly MountRecord[] {
    const { attachmentId } = held.target;
    const others = this.#context.journal.ofVolume(record.volumeId).filter((other) => other.id !== record.id);
    return others.filter((other) => other.held?.target.attachmentId === attachmentId);
  }
}

/** Granted for the volume that was looked up, under the name by which it was. */
function isOf({ volume, volumeId }: Attachment, record: MountRecord): boolean {
  return volumeId === record.volumeId && (volume ?? volumeId) === record.volume;
}

/** Only what the claim has made is given back. */
function failedOn({ existing }: GrantedAttachment, record: MountRecord): MountRecord {
  return existing ? { ...record, found: true } : record;
}

function outlived({ volume }: MountRecord): Failure {
  const detail = `There is no volume ${volume} any more: it was deleted while it was to be mounted.`;
  return new Failure('volume-not-found', detail, { field: 'volume' });
}

const firstPauseMs = 5;
const longestPauseMs = 200;

/** A conflict that ends by itself. */
function isPassing(error: unknown): boolean {
  if (!(error instanceof Failure)) return false;
  const { kind, retryable } = errorCatalogue[error.code];
  return kind === 'conflict' && retryable;
}

function isSameWish(present: MountRecord, wish: MountRecord): boolean {
  const fields = ['volumeId', 'readOnly', 'uid', 'gid', 'mode', 'namespace'] as const;
  return fields.every((field) => present[field] === wish[field]);
}

function pathBusy(holder: MountRecord): Failure {
  return new Failure('mount-path-busy', `${holder.path} is taken by mount ${holder.id} of ${holder.volume}.`, {
    field: 'path',
    related: { mount: holder.id, volume: holder.volume },
  });
}
