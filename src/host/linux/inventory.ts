// Turns what the kernel shows into the port's inventory. The filesystem mounts below our own state directory are part
// of a device, not mounts of a user, and are left out; the same mount in another namespace is not.

import { loopMajor } from '../../../native-bindings/loop.ts';
import type { HostInventory, MountFound } from '../host.ts';
import type { Findings } from './kernel-calls.ts';
import { devicePath, type LoopFound } from './loop-device.ts';

export interface InventoryFrame {
  readonly bootId: string;
  readonly sequence: number;
  readonly baseDirectory: string;
  /** Devices that somebody holds though no mount of them can be seen. */
  readonly held: ReadonlySet<number>;
}

/** What stands for the path of a mount that must exist and cannot be seen. */
export const invisiblePath = '(not visible)';

export function inventoryOf(findings: Findings, frame: InventoryFrame): HostInventory {
  const devices = findings.loops.map(({ number, volumeId, mediaGeneration, backing }) => ({
    path: devicePath(number),
    volumeId,
    mediaGeneration,
    deleted: backing.deleted,
  }));
  const mounts = [...visibleMounts(findings, frame), ...invisibleMounts(findings, frame)];
  return { bootId: frame.bootId, sequence: frame.sequence, devices, mounts };
}

export function unmountedLoops(findings: Findings): readonly LoopFound[] {
  const mounted = new Set(findings.mounts.map((mount) => mount.device));
  return findings.loops.filter((loop) => !mounted.has(deviceOf(loop)));
}

function deviceOf(loop: LoopFound): string {
  return `${loopMajor}:${loop.number}`;
}

function visibleMounts(findings: Findings, frame: InventoryFrame): MountFound[] {
  const loops = new Map(findings.loops.map((loop) => [deviceOf(loop), loop]));
  return findings.mounts.flatMap(({ device, mountPoint, foreignNamespace, isPropagated, holder }) => {
    const loop = loops.get(device);
    const isBase = !foreignNamespace && mountPoint.startsWith(`${frame.baseDirectory}/`);
    if (loop === undefined || isBase) return [];
    const { number, volumeId } = loop;
    const shown = { device: devicePath(number), volumeId, path: mountPoint, foreignNamespace };
    const propagated = isPropagated ? { isPropagated } : {};
    return [{ ...shown, ...propagated, ...(holder === undefined ? {} : { holder }) }];
  });
}

function invisibleMounts(findings: Findings, { held }: InventoryFrame): MountFound[] {
  const loops = findings.loops.filter((loop) => held.has(loop.number));
  return loops.map(({ number, volumeId }) => {
    return { device: devicePath(number), volumeId, path: invisiblePath, foreignNamespace: true };
  });
}
