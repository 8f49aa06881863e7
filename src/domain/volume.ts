import { errorCatalogue } from './errors.ts';
import type { Transitions } from './state-machine.ts';

export type VolumeState = 'provisioning' | 'free' | 'allocated' | 'wiping' | 'retired' | 'failed';

/** `retired` and a wiped volume without a pool end in removal of the row once the bytes are destroyed. */
export const volumeTransitions: Transitions<VolumeState> = {
  provisioning: ['free', 'allocated', 'failed', 'retired'],
  free: ['allocated', 'wiping', 'retired', 'failed'],
  allocated: ['wiping', 'failed', 'free'],
  wiping: ['free', 'retired', 'failed'],
  retired: ['failed'],
  failed: ['wiping', 'retired'],
};

export type FilesystemType = 'ext4' | 'xfs';
export const filesystemTypes: readonly FilesystemType[] = ['ext4', 'xfs'];
/** Of a volume that is larger than every pool's, and made for its request. */
export const poollessFilesystem: FilesystemType = 'ext4';

export type Labels = Readonly<Record<string, string>>;

/** A volume as the product shows it. Times are milliseconds since the epoch. */
export interface Volume {
  readonly id: string;
  /** Null while nobody owns it. */
  readonly name: string | null;
  readonly pool: string | null;
  readonly storageNode: string;
  readonly backend: string;
  readonly sizeBytes: number;
  readonly state: VolumeState;
  /** Rises with each allocation and each round of effects; effects carry it and older ones are refused. */
  readonly generation: number;
  /** The generation at which the present medium (file, LV ...) was made: new for every owner. */
  readonly mediaGeneration: number;
  readonly serial: string;
  readonly wwid: string;
  readonly filesystem: FilesystemType;
  /** Whether the filesystem is known to be complete on the medium. False: the host formats; true: nobody ever does. */
  readonly formatted: boolean;
  readonly qosPolicy: string | null;
  readonly labels: Labels;
  /** Rises at every new attachment of the volume. */
  readonly epoch: number;
  readonly failureReason: string | null;
  readonly createdAt: number;
  readonly allocatedAt: number | null;
  readonly attachments: readonly VolumeAttachment[];
  /** Null: its medium never had an owner before. */
  readonly wipeProof: VolumeWipeProof | null;
}

/** How it was shown that nothing of the former owner is on the present medium. */
export interface VolumeWipeProof {
  /** That of the medium. */
  readonly generation: number;
  readonly method: string;
  readonly verifiedBytes: number;
  /** Null: it was proved by a version that did not note the time. */
  readonly at: number | null;
}

export interface VolumeAttachment {
  readonly id: string;
  readonly host: string;
  readonly state: string;
}

/**
 * What anybody may know of a `failureReason`: its code, and what that means. The rest is the storage node's own words, with
 * paths and what programs said, and for those who mend it.
 */
export function outwardReason(failureReason: string): string {
  const code = failureReason.slice(0, failureReason.indexOf(':'));
  const entry = Object.entries(errorCatalogue).find(([known]) => known === code);
  return entry === undefined ? 'it has failed' : `${code}: ${entry[1].title}`;
}
