import type { AccessMode, Path } from '../domain/attachment.ts';
import type { Port } from '../domain/host.ts';
import type { FilesystemType } from '../domain/volume.ts';

/**
 * What one machine that runs containers can do with volumes. Every method is idempotent, works under the volume's own
 * lock, and throws a `Failure` with one of the codes named at it. Calls that can block in the kernel run on threads of
 * their own and end with `deadline-exceeded` when they do not return; the outcome is then unknown.
 *
 * The host refuses to act for a (volume, epoch) lower than the highest that it has seen (`stale-epoch`), durably: before
 * it changes bytes, and before it answers.
 */
export interface Host {
  readonly capabilities: HostCapabilities;
  discoverPorts(): Promise<readonly Port[]>;
  /** machine-id and boot id, which tell a cloned or a rebooted machine. */
  identity(): Promise<HostIdentity>;
  /** Finds or makes the block device for exactly these paths and proves its identity. `identity-mismatch`, `device-error`. */
  attach(target: DeviceTarget): Promise<ProvedDevice>;
  /** mkfs by force, under the volume's flock, the device kept open and proved; returns after it is durable. */
  format(device: Device, target: DeviceTarget, filesystem: FilesystemType): Promise<void>;
  /** Mounts the filesystem (nosuid, nodev) and shows its data directory at `path`. `mount-path-busy`, `identity-mismatch`. */
  mount(device: Device, target: DeviceTarget, options: MountOptions): Promise<void>;
  /** Removes the mount at `path`. Absent is success. `device-busy` when something holds it. */
  unmount(path: string): Promise<void>;
  /**
   * Unmounts whatever is left, flushes and removes the device, and proves that it is gone: an exclusive open succeeded
   * before the device was cleared, and nothing is backed by the medium afterwards. Absent is success. `device-busy`.
   */
  detach(target: DeviceTarget): Promise<DeviceProof>;
  /** The highest epoch of the volume that it has acted for; 0: none. */
  servedEpoch(volumeId: string): number;
  /** Those whose epoch it remembers, first those that it has known longest. */
  servedVolumes(): Iterable<string>;
  /**
   * The next epoch of the volumes is a first one: another store counts from now on, and may be at lower ones (absent: all),
   * or the volumes are no more.
   */
  forgetEpochs(volumeIds?: readonly string[]): Promise<void>;
  /** What is really there, read now, in every mount namespace; carries the boot id and a sequence taken at its start. */
  inventory(): Promise<HostInventory>;
  close(): Promise<void>;
}

export interface HostCapabilities {
  readonly simulated: boolean;
  readonly loop: boolean;
  readonly mount: boolean;
  readonly fibreChannel: boolean;
  /** Why something above is missing, for people. */
  readonly reasons: readonly string[];
}

export interface HostIdentity {
  readonly machineId: string;
  readonly bootId: string;
}

/** What the store says the device must be. */
export interface DeviceTarget {
  readonly attachmentId: string;
  readonly volumeId: string;
  readonly mediaGeneration: number;
  readonly epoch: number;
  readonly paths: readonly Path[];
  readonly serial: string;
  readonly wwid: string;
  readonly sizeBytes: number;
  readonly accessMode: AccessMode;
}

export interface Device {
  /** e.g. `/dev/loop3` */
  readonly path: string;
}

export interface ProvedDevice extends Device {
  readonly proof: DeviceProof;
}

export interface DeviceProof {
  readonly kind: 'present' | 'gone';
  readonly method: string;
  readonly device: string | null;
  readonly volumeId: string;
  readonly mediaGeneration: number;
}

export interface MountOptions {
  readonly path: string;
  readonly filesystem: FilesystemType;
  readonly readOnly: boolean;
  readonly uid?: number;
  readonly gid?: number;
  readonly mode?: number;
}

export interface HostInventory {
  readonly bootId: string;
  readonly sequence: number;
  readonly devices: readonly DeviceFound[];
  readonly mounts: readonly MountFound[];
}

export interface DeviceFound {
  readonly path: string;
  readonly volumeId: string;
  readonly mediaGeneration: number;
  /** The medium's file was deleted under the device. */
  readonly deleted: boolean;
}

export interface MountFound {
  readonly device: string;
  readonly volumeId: string;
  readonly path: string;
  /** Another mount namespace than ours holds it. */
  readonly foreignNamespace: boolean;
  /** Of another namespace: the kernel's copy of a mount of ours, which it takes away with ours. Nobody's use of it. */
  readonly isPropagated?: true;
  /** Of another namespace: a process that lives in it, for people. */
  readonly holder?: string;
}
