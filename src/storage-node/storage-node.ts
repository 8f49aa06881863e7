import type { Path } from '../domain/attachment.ts';
import type { Problem } from '../domain/errors.ts';
import type { FilesystemType } from '../domain/volume.ts';

/**
 * Where volumes live: a backend (bytes) and an exporter (how an initiator sees them) behind one port.
 *
 * Every request is one item of a bulk call and answers on its own, in the request's order. Each is repeatable: the same
 * item with the same or a higher generation changes nothing the second time. An item whose generation is lower than the
 * highest one that the node has seen for that volume is refused with `stale-generation`: the highest generation is
 * durable before any byte changes, and check and act happen under one per-volume lock. A call that throws means
 * "unknown": nobody may conclude that its items did or did not happen.
 *
 * Before an item begins the node asks whether it may act (`MayAct`). If not, the call throws `storage-node-unavailable`
 * once the items that had begun have ended.
 */
export interface StorageNode {
  readonly name: string;
  readonly capabilities: StorageNodeCapabilities;
  /** Makes the medium `<volumeId, mediaGeneration>`, zeroed, and formats it when `filesystem` is stated. */
  provision(requests: readonly ProvisionRequest[]): Promise<readonly EffectResult<ProvisionAnswer>[]>;
  /** Destroys the old owner's bytes provably, then makes the medium `newMediaGeneration` as `provision` does. */
  wipe(requests: readonly WipeRequest[]): Promise<readonly EffectResult<WipeAnswer>[]>;
  /** Removes every medium of the volume, wiped first. Absent is success. */
  destroy(requests: readonly DestroyRequest[]): Promise<readonly EffectResult<null>[]>;
  /** Makes exactly the stated paths lead to the medium. */
  export(requests: readonly ExportRequest[]): Promise<readonly EffectResult<null>[]>;
  /** Removes every path of the attachment. Absent is success. */
  unexport(requests: readonly UnexportRequest[]): Promise<readonly EffectResult<null>[]>;
  /** What is really there, read now. Unreadable throws; it is never "empty". */
  inventory(): Promise<StorageNodeInventory>;
  /** The stamp beside the data; see `StoreStamp`. */
  stamp(): Promise<StoreStamp | null>;
  /** Binds the data to a store (first use), raises the generation, or, with `adopt`, rebinds it. */
  setStamp(stamp: StoreStamp, options?: { readonly adopt?: boolean }): Promise<void>;
  space(): Promise<Space>;
  close(): Promise<void>;
}

/** False while another process may be acting in this one's place. */
export type MayAct = () => boolean;

export interface StorageNodeCapabilities {
  readonly backends: readonly string[];
  readonly exporter: string;
  /** Whether unexport alone cuts a host off (LIO: yes; an open loop device: no). */
  readonly canFence: boolean;
  readonly targetPorts: readonly { readonly wwpn: string; readonly fabric: string; readonly synthesized: boolean }[];
}

/** Which store the bytes belong to: a foreign or older store must not reconcile them away. */
export interface StoreStamp {
  readonly storeId: string;
  readonly highestGeneration: number;
}

export interface Space {
  readonly totalBytes: number;
  readonly availableBytes: number;
}

interface VolumeEffect {
  readonly volumeId: string;
  readonly generation: number;
}

export interface ProvisionRequest extends VolumeEffect {
  readonly backend: string;
  readonly mediaGeneration: number;
  readonly sizeBytes: number;
  readonly filesystem: FilesystemType | null;
}

export interface ProvisionAnswer {
  readonly formatted: boolean;
}

export interface WipeRequest extends VolumeEffect {
  readonly backend: string;
  readonly oldMediaGeneration: number;
  readonly newMediaGeneration: number;
  readonly sizeBytes: number;
  readonly filesystem: FilesystemType | null;
}

export interface WipeAnswer {
  readonly formatted: boolean;
  readonly proof: WipeProof;
}

/** How it was shown that the old bytes are gone. */
export interface WipeProof {
  readonly method: 'punch-hole' | 'zeroes' | 'discard' | 'simulated';
  readonly verifiedBytes: number;
  readonly generation: number;
}

export interface DestroyRequest extends VolumeEffect {
  readonly backend: string;
}

export interface ExportRequest extends VolumeEffect {
  readonly attachmentId: string;
  readonly mediaGeneration: number;
  readonly epoch: number;
  readonly readOnly: boolean;
  readonly serial: string;
  readonly wwid: string;
  readonly paths: readonly Path[];
}

export interface UnexportRequest extends VolumeEffect {
  readonly attachmentId: string;
  readonly paths: readonly Path[];
}

export type EffectResult<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problem: Problem };

export interface StorageNodeInventory {
  readonly media: readonly MediumFound[];
  readonly exports: readonly ExportFound[];
}

export interface MediumFound {
  readonly backend: string;
  readonly volumeId: string;
  readonly mediaGeneration: number;
  readonly sizeBytes: number;
  readonly allocatedBytes: number;
}

export interface ExportFound {
  readonly volumeId: string;
  readonly attachmentId: string;
  readonly generation: number;
  readonly path: Path;
}
