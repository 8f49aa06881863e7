/**
 * Mounts that container engines share: each user of a volume names itself, and the last one to go ends the mount.
 *
 * References are part of the mount's record: who needs it and how far it is can never contradict each other after a
 * crash. An engine that was killed never takes its references back; nobody can tell by waiting, so they are kept until
 * the volume is to be removed, and given up then if the kernel knows of no other user, and none may be about to appear:
 * a container that is being started is seen nowhere yet. Relies on the reconciler to end a mount that nobody needs any
 * more.
 */
import { limits } from '../config/limits.ts';
import { Failure } from '../domain/errors.ts';
import type { MountFound } from '../host/host.ts';
import type { AgentContext } from './context.ts';
import { isAway } from './controller-link.ts';
import type { MountJournal, MountRecord } from './mount-journal.ts';
import type { VolumeGate } from './volume-gate.ts';

export interface SharedMountsOptions {
  readonly context: AgentContext;
  readonly gate: VolumeGate;
  /** Something was left for the reconciler. */
  readonly nudge: () => void;
  /** Ends one mount, and keeps the record as it is given; the caller holds the volume. */
  readonly unmountAlone: (record: MountRecord) => Promise<void>;
}

const shownUsers = 5;

export class SharedMounts {
  readonly #options: SharedMountsOptions;
  /** When an engine was last answered, by mount, oldest first, as long as it matters. What was answered by a former process counts from the start of this one. */
  readonly #answeredAt = new Map<string, number>();
  readonly #began: number;

  constructor(options: SharedMountsOptions) {
    this.#options = options;
    this.#began = options.context.clock.monotonic();
  }

  /** An engine is about to be answered, and then to start its container; the caller holds the volume. */
  answered(id: string): void {
    const now = this.#options.context.clock.monotonic();
    this.#answeredAt.delete(id);
    for (const [known, answeredAt] of this.#answeredAt) {
      if (answeredAt + limits.engineStartMs > now) break;
      this.#answeredAt.delete(known);
    }
    this.#answeredAt.set(id, now);
  }

  /**
   * Unknown is success. With the controller away the last reference goes all the same: the mount ends once it is back,
   * unless somebody needs it again before. `device-busy`: it goes as soon as what holds it ends.
   */
  async release(volume: string, reference: string): Promise<void> {
    for (const { id, volumeId } of this.#of(volume)) {
      await this.#options.gate.run(volumeId, () => this.#releaseAlone(id, reference));
    }
  }

  /** Ends what no process uses; `volume-in-use` says who does. Nothing mounted is success. */
  async endUnused(volume: string): Promise<void> {
    const { journal } = this.#options.context;
    const own = journal.list().find((record) => record.volume === volume && record.references === undefined);
    if (own !== undefined)
      throw inUse(own, `it is mounted at ${own.path}; unmount it there first (fcr umount ${own.path})`);
    for (const { id, volumeId } of this.#of(volume)) {
      await this.#options.gate.run(volumeId, () => this.#endUnusedAlone(id));
    }
  }

  /** While engines have users of it on record, it is theirs to end: `volume-in-use` says who they are, and what to do. */
  async refuseWhileNeeded(record: MountRecord): Promise<void> {
    const { references = [], state, volume, path } = record;
    if (references.length === 0 || state !== 'mounted') return;
    const users = await this.#usersOf(record);
    const who = users.length > 0 ? users.join(', ') : 'no process has it, so an engine may have forgotten them';
    const listed = `docker ps or podman ps, --filter volume=${volume}`;
    const remedy = `Stop its containers (${listed}); force ends what no process has`;
    throw inUse(
      record,
      `container engines have it on record for ${usersIn(references)} at ${path} (${who}). ${remedy}`,
    );
  }

  /**
   * Ends a mount whose engines have forgotten it; `volume-in-use` where a process has it. Where it cannot go it stays
   * with its users on record: they may be alive after all. The caller holds the volume.
   */
  async endForgotten(record: MountRecord): Promise<void> {
    await this.#refuseWhileUsed(record);
    await this.#options.unmountAlone(record);
  }

  #of(volume: string): readonly MountRecord[] {
    const { journal } = this.#options.context;
    return journal.list().filter((record) => record.volume === volume && record.references !== undefined);
  }

  async #releaseAlone(id: string, reference: string): Promise<void> {
    const record = this.#options.context.journal.get(id);
    const rest = record?.references?.filter((each) => each !== reference);
    if (record === undefined || rest === undefined) return;
    if (rest.length > 0) {
      if (rest.length !== record.references?.length) await this.#keep(record, rest);
      return;
    }
    await this.#endUnneeded(record).catch((error: unknown) => {
      if (!isAway(error)) throw error;
    });
  }

  async #endUnusedAlone(id: string): Promise<void> {
    const record = this.#options.context.journal.get(id);
    if (record !== undefined) await this.endForgotten(record);
  }

  async #refuseWhileUsed(record: MountRecord): Promise<void> {
    const users = await this.#usersOf(record);
    if (users.length > 0) throw inUse(record, `${users.join(', ')}. End that first, then repeat this`);
    const startingMs = this.#startingMs(record);
    if (startingMs <= 0) return;
    const why = this.#answeredAt.has(record.id)
      ? 'an engine has just mounted it, and its container may be starting'
      : 'this agent has just started, and cannot know whether a container is being started on it';
    throw inUse(record, `${why}. Repeat this in ${Math.ceil(startingMs / 1_000)} s`);
  }

  /** For how much longer a user that is on record may still be on its way into the volume. */
  #startingMs({ id, references = [] }: MountRecord): number {
    if (references.length === 0) return 0;
    const answeredAt = this.#answeredAt.get(id) ?? this.#began;
    return answeredAt + limits.engineStartMs - this.#options.context.clock.monotonic();
  }

  async #usersOf(record: MountRecord): Promise<readonly string[]> {
    const { mounts } = await this.#options.context.host.inventory();
    const others = mounts.filter((mount) => isAnothers(mount, record));
    return others.slice(0, shownUsers).map(describe);
  }

  async #keep(record: MountRecord, references: readonly string[]): Promise<void> {
    await this.#options.context.journal.put({ ...record, references });
  }

  /** That nobody needs it, and that it goes, is one durable step; where it cannot go now, the first is kept. */
  async #endUnneeded(record: MountRecord): Promise<void> {
    try {
      await this.#options.unmountAlone({ ...record, references: [] });
    } catch (error) {
      this.#options.nudge();
      throw error;
    }
  }
}

/**
 * No container outlives a reboot. Its engine says nothing of one that died with the machine, and mounts anew for one that
 * it starts again, so what was needed in an earlier boot is needed by nobody until somebody asks. Where the boot was not
 * noted, by an earlier version, it counts as this one.
 */
export async function endEarlierBoots(journal: MountJournal, bootId: string): Promise<void> {
  const shared = journal.list().filter((record) => record.references !== undefined && record.bootId !== bootId);
  await Promise.all(
    shared.map((record) =>
      journal.put({ ...record, bootId, ...(record.bootId === undefined ? {} : { references: [] }) }),
    ),
  );
}

/** The record's references and the wish's (`limit-reached`); what a person mounted stays a person's. */
export function withReferencesOf(record: MountRecord, { references: more }: MountRecord): MountRecord {
  const { references } = record;
  if (references === undefined || more === undefined) return record;
  const all = new Set([...references, ...more]);
  if (all.size > Math.max(limits.mountReferences, references.length)) throw tooManyUsers(record);
  return { ...record, references: [...all] };
}

function tooManyUsers({ volume, volumeId, id, path }: MountRecord): Failure {
  const remedy = `If some of them were left by an engine that was killed, unmount ${path} by force.`;
  const detail = `Volume "${volume}" has ${limits.mountReferences} users on this host already. ${remedy}`;
  return new Failure('limit-reached', detail, { related: { volume: volumeId, mount: id } });
}

/** A service that follows the machine's mounts has a copy of each; whoever works in one keeps ours from going. */
function isAnothers(mount: MountFound, record: MountRecord): boolean {
  if (mount.volumeId !== record.volumeId || mount.isPropagated === true) return false;
  return mount.foreignNamespace || mount.path !== record.path;
}

function usersIn({ length }: readonly string[]): string {
  return length === 1 ? 'one user' : `${length} users`;
}

function describe({ holder, path }: MountFound): string {
  return holder === undefined ? `a mount at ${path}` : `${holder} has it at ${path}`;
}

function inUse({ volume, volumeId, id }: MountRecord, why: string): Failure {
  return new Failure('volume-in-use', `Volume "${volume}" is in use on this host: ${why}.`, {
    related: { volume: volumeId, mount: id },
  });
}
