/**
 * What the host contract needs of an adapter: exported media, paths to mount at, a restart, and a mount namespace that
 * holds a device. The links are those that the local exporter makes; the Linux harness also makes real backing files.
 */
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Failure } from '../../src/domain/errors.ts';
import type { DeviceProof, DeviceTarget, Host, MountFound } from '../../src/host/host.ts';
import { linkOf } from '../../src/host/local-medium.ts';

export interface HostHarness {
  readonly host: Host;
  /** A fresh medium, exported on a path of its own. */
  makeTarget(overrides?: Partial<DeviceTarget>): DeviceTarget;
  /** The same volume after a wipe: a new medium on the same paths, the next epoch. */
  nextOwner(target: DeviceTarget): DeviceTarget;
  /** Makes the target's paths lead to what another target's lead to. */
  redirectPaths(target: DeviceTarget, other: DeviceTarget): void;
  unexport(target: DeviceTarget): void;
  /** A path to mount at, which does not exist yet. */
  mountPath(name: string): string;
  /** Ends the host without any farewell and opens it anew on the same state. */
  restart(): Promise<Host>;
  /** Another mount namespace keeps what is mounted now; answers how to end it. */
  holdElsewhere(target: DeviceTarget, path: string): Promise<() => Promise<void>>;
}

/** Without those of other namespaces: one that another test makes has a copy of every mount of the machine for a moment. */
export async function ownMounts(host: Host): Promise<readonly MountFound[]> {
  return (await host.inventory()).mounts.filter(({ foreignNamespace }) => !foreignNamespace);
}

const passingHoldMs = 60_000;

/** Once nobody holds it: others on this machine may, for a moment. */
export async function detachAtLast(host: Host, target: DeviceTarget): Promise<DeviceProof> {
  const deadline = performance.now() + passingHoldMs;
  for (;;) {
    try {
      return await host.detach(target);
    } catch (error) {
      const isHeld = error instanceof Failure && error.code === 'device-busy';
      if (!isHeld || performance.now() > deadline) throw error;
    }
  }
}

export const initiatorWwpn = '20:00:02:00:00:00:00:a0';
export const targetWwpn = '20:00:02:00:00:00:00:b0';
export const testVolumeBytes = 64 * 1024 * 1024;

export function targetOf(number: number, overrides: Partial<DeviceTarget> = {}): DeviceTarget {
  return {
    attachmentId: `att_${number}`,
    volumeId: `vol_${number}`,
    mediaGeneration: 1,
    epoch: 1,
    paths: [{ initiatorWwpn, targetWwpn, lun: number }],
    serial: `serial${number}`,
    wwid: `naa.6001405${number}`,
    sizeBytes: testVolumeBytes,
    accessMode: 'single-writer',
    ...overrides,
  };
}

/** The directories of one instance, and the exporter's links in them. */
export class ExportedMedia {
  readonly exportsDirectory: string;
  readonly volumesDirectory: string;

  constructor(directory: string) {
    this.exportsDirectory = join(directory, 'exports');
    this.volumesDirectory = join(directory, 'volumes');
    mkdirSync(this.volumesDirectory, { recursive: true });
  }

  fileOf({ volumeId, mediaGeneration }: DeviceTarget): string {
    return join(this.volumesDirectory, `${volumeId}.${mediaGeneration}.img`);
  }

  export(target: DeviceTarget, file: string = this.fileOf(target)): void {
    for (const path of target.paths) {
      const link = linkOf(this.exportsDirectory, path);
      mkdirSync(dirname(link), { recursive: true });
      rmSync(link, { force: true });
      symlinkSync(file, link);
    }
  }

  unexport(target: DeviceTarget): void {
    for (const path of target.paths) rmSync(linkOf(this.exportsDirectory, path), { force: true });
  }
}
