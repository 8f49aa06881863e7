import type { Transitions } from './state-machine.ts';
import type { FilesystemType } from './volume.ts';

export type AttachmentState = 'exporting' | 'exported' | 'attached' | 'detaching' | 'quarantined' | 'released';

/** A released attachment's row is removed; its operations tell that it was. */
export const attachmentTransitions: Transitions<AttachmentState> = {
  exporting: ['exported', 'released'],
  exported: ['attached', 'detaching'],
  attached: ['detaching', 'exported'],
  detaching: ['released', 'quarantined'],
  quarantined: ['released', 'detaching'],
  released: [],
};

/**
 * What the host has said about its side of an attachment.
 * `none`: the host never claimed it, so no device can exist. `claimed`: the host said that it is about to make the
 * device (before it does). `attached`: device there and proved. `gone`: proved to be gone.
 */
export type HostSide = 'none' | 'claimed' | 'attached' | 'gone';

export type AccessMode = 'single-writer' | 'read-only-many';
export const accessModes: readonly AccessMode[] = ['single-writer', 'read-only-many'];

export interface Path {
  readonly initiatorWwpn: string;
  readonly targetWwpn: string;
  readonly lun: number;
}

export interface Attachment {
  readonly id: string;
  readonly volumeId: string;
  readonly volume: string | null;
  readonly host: string;
  readonly storageNode: string;
  readonly accessMode: AccessMode;
  readonly namespace: string | null;
  readonly state: AttachmentState;
  readonly hostSide: HostSide;
  readonly epoch: number;
  readonly generation: number;
  readonly mediaGeneration: number;
  readonly paths: readonly Path[];
  readonly wwid: string;
  readonly serial: string;
  readonly sizeBytes: number;
  readonly filesystem: FilesystemType;
  readonly formatted: boolean;
  readonly createdAt: number;
}

export interface HostStateReport {
  readonly attachment: string;
  readonly epoch: number;
  readonly host: string;
  readonly bootId: string;
  /** `formatted` says that a filesystem is complete and durable on the device; it changes nothing else. */
  readonly side: Exclude<HostSide, 'none'> | 'formatted';
  readonly proof: Readonly<Record<string, unknown>> | null;
}
