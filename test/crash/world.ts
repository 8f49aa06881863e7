/** What this machine really has below a data directory, by the kernel's word. */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';

export interface LoopDevice {
  readonly number: number;
  readonly file: string;
  readonly deleted: boolean;
}

export interface MountPoint {
  readonly namespace: string;
  readonly pid: string;
  /** `major:minor` */
  readonly device: string;
  readonly path: string;
}

const deletedSuffix = ' (deleted)';

export function loopDevicesOn(directory: string): LoopDevice[] {
  return readdirSync('/sys/block').flatMap((name) => {
    const backing = /^loop\d+$/.test(name) ? readOrNull(`/sys/block/${name}/loop/backing_file`)?.trimEnd() : null;
    if (backing === null || backing === undefined || !backing.startsWith(`${directory}/`)) return [];
    const deleted = backing.endsWith(deletedSuffix);
    const file = deleted ? backing.slice(0, -deletedSuffix.length) : backing;
    return [{ number: Number(name.slice('loop'.length)), file, deleted }];
  });
}

/** Of the given devices, in every mount namespace of the machine. */
export function mountsOf(devices: ReadonlySet<string>): MountPoint[] {
  const seen = new Set<string>();
  const found: MountPoint[] = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const namespace = namespaceOf(pid);
    if (namespace === null || seen.has(namespace)) continue;
    const table = readOrNull(`/proc/${pid}/mountinfo`);
    if (table === null) continue;
    seen.add(namespace);
    for (const line of table.split('\n')) {
      const [, , device = '', , path = ''] = line.split(' ');
      if (devices.has(device)) found.push({ namespace, pid, device, path });
    }
  }
  return found;
}

export function ownNamespace(): string {
  return namespaceOf('self') ?? '';
}

/** Every link of the local exporter: `<target>/<initiator>/<lun>` -> where it leads. */
export function linksBelow(directory: string): Map<string, string> {
  const links = new Map<string, string>();
  for (const target of listOrEmpty(directory)) {
    for (const initiator of listOrEmpty(join(directory, target))) {
      for (const lun of listOrEmpty(join(directory, target, initiator))) {
        links.set(`${target}/${initiator}/${lun}`, readlinkSync(join(directory, target, initiator, lun)));
      }
    }
  }
  return links;
}

/** The loop device that a path lies on; null: none (st_dev of <sys/sysmacros.h>, loop devices have major 7). */
export function loopNumberAt(path: string): number | null {
  const { dev } = statSync(path);
  return ((dev >>> 8) & 0xfff) === 7 ? (dev & 0xff) + Math.floor(dev / 2 ** 20) * 256 : null;
}

export function listOrEmpty(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}

function namespaceOf(pid: string): string | null {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`);
  } catch {
    return null;
  }
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
