// Reads /proc/<pid>/mountinfo (proc(5)) of every mount namespace that a process lives in, each namespace once.
// It explains who holds a device and feeds the inventory. It is no proof of absence: a namespace can live on without a
// process, some processes cannot be looked into, and others come and go; only an exclusive open of the device proves it.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { systemCodeOf } from '../../system/system-call-error.ts';

export interface MountLine {
  readonly id: number;
  /** The id of the mount that it stands on. */
  readonly parent: number;
  /** `major:minor` of the filesystem's device. */
  readonly device: string;
  readonly mountPoint: string;
  readonly readOnly: boolean;
  /** Mounts that follow each other's changes (`shared:N`). */
  readonly peerGroup: number | null;
  /** The peer group whose changes it follows without being followed (`master:N`). */
  readonly master: number | null;
}

export interface NamespaceMount extends MountLine {
  readonly foreignNamespace: boolean;
  /** A process that lives in the namespace. */
  readonly pid: number;
  /** The kernel copied it from a mount of our namespace, and takes it away with that. */
  readonly isPropagated: boolean;
}

export function parseMountTable(text: string): MountLine[] {
  return text.split('\n').flatMap((line) => {
    const [id, parent, device, , mountPoint, options, ...rest] = line.split(' ');
    if (device === undefined || mountPoint === undefined || options === undefined) return [];
    const optional = rest.slice(0, rest.indexOf('-'));
    return [
      {
        id: Number(id),
        parent: Number(parent),
        device,
        mountPoint: unescapePath(mountPoint),
        readOnly: options.split(',').includes('ro'),
        peerGroup: groupOf(optional, 'shared:'),
        master: groupOf(optional, 'master:'),
      },
    ];
  });
}

function groupOf(optional: readonly string[], tag: string): number | null {
  const field = optional.find((each) => each.startsWith(tag));
  return field === undefined ? null : Number(field.slice(tag.length));
}

/** mountinfo writes space, tab, newline and backslash as three octal digits. */
function unescapePath(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** Mounts of our own namespace, in the order in which they were made. */
export function ownMounts(root: string): MountLine[] {
  return parseMountTable(readFileSync(`${root}/proc/self/mountinfo`, 'utf8'));
}

/** Mounts of the devices (`major:minor`) in all namespaces. */
export function mountsEverywhere(root: string, devices: ReadonlySet<string>): NamespaceMount[] {
  const own = readlinkSync(`${root}/proc/self/ns/mnt`);
  const ours = withParents(ownMounts(root), devices);
  const groups = new Set(ours.map((mount) => relationOf(mount.peerGroup, mount.standsOn?.peerGroup)));
  const found: NamespaceMount[] = ours.map(({ standsOn: _, ...line }) => {
    return { ...line, foreignNamespace: false, pid: process.pid, isPropagated: false };
  });
  const seen = new Set([own]);
  for (const pid of processIds(root)) {
    const lines = ifAlive(() => newNamespaceOf(root, pid, seen)) ?? [];
    for (const { standsOn, ...line } of withParents(lines, devices)) {
      // Where what it stands on does not follow ours, such as in a container, ours goes without it.
      const isFollower = line.master !== null && typeof standsOn?.master === 'number';
      const isPropagated = isFollower && groups.has(relationOf(line.master, standsOn.master));
      found.push({ ...line, foreignNamespace: true, pid, isPropagated });
    }
  }
  return found;
}

interface PlacedMount extends MountLine {
  readonly standsOn: MountLine | undefined;
}

function withParents(lines: readonly MountLine[], devices: ReadonlySet<string>): PlacedMount[] {
  const ofDevices = lines.filter(({ device }) => devices.has(device));
  if (ofDevices.length === 0) return [];
  const byId = new Map(lines.map((line) => [line.id, line]));
  return ofDevices.map((line) => ({ ...line, standsOn: byId.get(line.parent) }));
}

function relationOf(group: number | null, ofParent: number | null | undefined): string {
  return `${group} on ${ofParent}`;
}

export function processIds(root: string): number[] {
  return readdirSync(`${root}/proc`)
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function newNamespaceOf(root: string, pid: number, seen: Set<string>): MountLine[] {
  const namespace = readlinkSync(`${root}/proc/${pid}/ns/mnt`);
  if (seen.has(namespace)) return [];
  const lines = parseMountTable(readFileSync(`${root}/proc/${pid}/mountinfo`, 'utf8'));
  seen.add(namespace);
  return lines;
}

/** Null when the process has ended meanwhile, is a zombie, or may not be looked into (not even by root: ptrace(2)). */
export function ifAlive<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EINVAL' || code === 'EACCES') return null;
    throw error;
  }
}

/** For people, e.g. `process 4711 (sleep) of container 0123456789ab`; engines name cgroups by their containers' ids. */
export function describeProcess(root: string, pid: number): string {
  const command = ifAlive(() => readFileSync(`${root}/proc/${pid}/comm`, 'utf8').trim());
  const cgroups = ifAlive(() => readFileSync(`${root}/proc/${pid}/cgroup`, 'utf8')) ?? '';
  const [container] = /[0-9a-f]{64}/.exec(cgroups) ?? [];
  const who = `process ${pid}${command === null ? '' : ` (${command})`}`;
  return container === undefined ? who : `${who} of container ${container.slice(0, 12)}`;
}
