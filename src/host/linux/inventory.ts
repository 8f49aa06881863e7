// Turns what the kernel shows into the port's inventory. The filesystem mounts below our own state directory are part
// of a device, not mounts of a user, and are left out; the same mount in another namespace is not.

import { loopMajor } from '../../../native-bindings/loop.ts';
import type { HostInventory, MountFound } from '../host.ts';
import type { Findings } from './kernel-calls.ts';
import { devicePath } from './loop-device.ts';

export interface InventoryFrame {
  readonly bootId: string;
  readonly sequence: number;
  readonly baseDirectory: string;
}

export function inventoryOf(findings: Findings, frame: InventoryFrame): HostInventory {
  const devices = findings.loops.map(({ number, volumeId, mediaGeneration, backing }) => ({
    path: devicePath(number),
    volumeId,
    mediaGeneration,
    deleted: backing.deleted,
  }));
  return { bootId: frame.bootId, sequence: frame.sequence, devices, mounts: mountsOf(findings, frame) };
}

function mountsOf(findings: Findings, frame: InventoryFrame): MountFound[] {
  const loops = new Map(findings.loops.map((loop) => [`${loopMajor}:${loop.number}`, loop]));
  return findings.mounts.flatMap(({ device, mountPoint, foreignNamespace }) => {
    const loop = loops.get(device);
    const isBase = !foreignNamespace && mountPoint.startsWith(`${frame.baseDirectory}/`);
    if (loop === undefined || isBase) return [];
    return [{ device: devicePath(loop.number), volumeId: loop.volumeId, path: mountPoint, foreignNamespace }];
  });
}
