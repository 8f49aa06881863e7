/**
 * The agent's own memory: which mounts were asked of it, and how far each has come.
 *
 * A record is durable before the kernel is touched for it, so that whatever a crash leaves behind has a name. It never
 * decides alone: after a restart a mount is made anew only once the controller has confirmed its attachment and epoch.
 * Relies on `RecordLog` (one durable write for all concurrent calls, torn tail cut) and on one agent per file.
 */
import { assert } from '../domain/errors.ts';
import { assertTransition, type Transitions } from '../domain/state-machine.ts';
import type { FilesystemType } from '../domain/volume.ts';
import type { DeviceTarget } from '../host/host.ts';
import { RecordLog, type RecordState } from '../system/record-log.ts';

/**
 * `attaching`: asked for, not answered yet; a crash undoes it. `mounted`: answered, and made again after a reboot (for
 * engines, once they ask again).
 * `unmounting`: asked to go; a crash finishes it. `detaching`: unmounted, but something still holds the device.
 */
export type MountState = 'attaching' | 'mounted' | 'unmounting' | 'detaching';
/** `unmounting -> mounted`: the path was busy or the controller away, and nothing had been changed. */
export const mountTransitions: Transitions<MountState> = {
  attaching: ['mounted', 'unmounting', 'detaching'],
  mounted: ['unmounting', 'detaching'],
  unmounting: ['mounted', 'detaching'],
  detaching: [],
};

export interface MountRecord {
  readonly id: string;
  /** The volume's name when it was asked for (its id where it had none). */
  readonly volume: string;
  readonly volumeId: string;
  readonly path: string;
  /** Nothing was there before it: the directory goes with the mount. */
  readonly madePath?: true;
  readonly readOnly: boolean;
  readonly uid?: number;
  readonly gid?: number;
  readonly mode?: number;
  readonly namespace: string | null;
  /**
   * The engines' names for those who need it; the last one to go ends it, also when that takes a reconcile. Absent: a
   * person's mount, which stays until it is unmounted.
   */
  readonly references?: readonly string[];
  /** The boot in which the references were made: what they stand for ends with it. Absent with them, and in old records. */
  readonly bootId?: string;
  readonly state: MountState;
  /** A mount that failed on an attachment that was there before it: what ends is the claim, not the attachment. */
  readonly found?: true;
  /** Null until the controller has answered the attach. */
  readonly held: HeldAttachment | null;
  readonly device: string | null;
  /** Why it does not go: who holds the device, as the host tells it. */
  readonly heldBy: string | null;
  readonly createdAt: number;
}

/** The attachment that a mount stands on, as much of it as is needed to clean up with the controller away. */
export interface HeldAttachment {
  readonly target: DeviceTarget;
  readonly filesystem: FilesystemType;
}

/** Whether somebody still needs it. */
export function isWanted({ state, references }: MountRecord): boolean {
  return state === 'mounted' && references?.length !== 0;
}

type JournalRecord = { readonly put: MountRecord } | { readonly removed: string };

export class MountJournal {
  readonly #log: RecordLog<JournalRecord>;
  /** What callers see: ahead of the disk until the promise of the change has resolved. */
  readonly #mounts: Map<string, MountRecord>;

  private constructor(log: RecordLog<JournalRecord>, mounts: Map<string, MountRecord>) {
    this.#log = log;
    this.#mounts = mounts;
  }

  /** The directory must exist. `data-damaged` when the file is: unreadable is never "no mounts". */
  static async open(path: string): Promise<MountJournal> {
    const durable = new DurableMounts();
    const log = await RecordLog.open(path, durable);
    return new MountJournal(log, new Map(durable.mounts));
  }

  get(id: string): MountRecord | undefined {
    return this.#mounts.get(id);
  }

  list(): readonly MountRecord[] {
    return [...this.#mounts.values()];
  }

  atPath(path: string): MountRecord | undefined {
    return this.list().find((record) => record.path === path);
  }

  ofVolume(volumeId: string): readonly MountRecord[] {
    return this.list().filter((record) => record.volumeId === volumeId);
  }

  /** Visible at once, durable when it resolves; where that fails the change is taken back. */
  async put(record: MountRecord): Promise<MountRecord> {
    const before = this.#mounts.get(record.id);
    if (before !== undefined && before.state !== record.state) {
      assertTransition(mountTransitions, before.state, record.state, 'mount-transition');
    }
    assert(before === undefined || before.volumeId === record.volumeId, 'mount-changes-volume');
    this.#mounts.set(record.id, record);
    try {
      await this.#log.append([{ put: record }]);
    } catch (error) {
      this.#restore(record.id, before);
      throw error;
    }
    return record;
  }

  /** Gone from the memory at once, durably so when it resolves. */
  async remove(ids: readonly string[]): Promise<void> {
    const known = ids.filter((id) => this.#mounts.delete(id));
    await this.#log.append(known.map((removed) => ({ removed })));
  }

  async close(): Promise<void> {
    await this.#log.close();
  }

  #restore(id: string, before: MountRecord | undefined): void {
    if (before === undefined) this.#mounts.delete(id);
    else this.#mounts.set(id, before);
  }
}

class DurableMounts implements RecordState<JournalRecord> {
  readonly mounts = new Map<string, MountRecord>();

  get size(): number {
    return this.mounts.size;
  }

  parse(value: unknown): JournalRecord | null {
    if (typeof value !== 'object' || value === null) return null;
    if ('removed' in value && typeof value.removed === 'string') return { removed: value.removed };
    if ('put' in value && isMountRecord(value.put)) return { put: value.put };
    return null;
  }

  apply(record: JournalRecord): void {
    if ('put' in record) this.mounts.set(record.put.id, record.put);
    else this.mounts.delete(record.removed);
  }

  *snapshot(): Iterable<JournalRecord> {
    for (const put of this.mounts.values()) yield { put };
  }
}

/** The checksum of the log vouches for the content; this tells a record of another kind or version. */
function isMountRecord(value: unknown): value is MountRecord {
  if (typeof value !== 'object' || value === null) return false;
  if (!('id' in value && 'volumeId' in value && 'path' in value && 'state' in value && 'held' in value)) return false;
  const { id, volumeId, path, state } = value;
  return [id, volumeId, path].every((text) => typeof text === 'string') && String(state) in mountTransitions;
}
