// Which machine this is, and its initiator ports: from sysfs where there is Fibre Channel hardware, else one that is
// synthesized and the same after every start. Unreadable is never empty: such a port is shown as `unreadable`.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Port, PortState } from '../../domain/host.ts';
import { isWwpn, parseWwpn, synthesizeWwpn, type Wwpn } from '../../domain/wwpn.ts';
import { systemCodeOf } from '../../system/system-call-error.ts';
import type { HostIdentity } from '../host.ts';

export const localFabric = 'local';

/** `root` stands before /sys, /proc and /etc: empty, or a captured tree's. */
export async function readIdentity(root: string): Promise<HostIdentity> {
  const [machineId, bootId] = await Promise.all([
    readFile(`${root}/etc/machine-id`, 'utf8'),
    readFile(`${root}/proc/sys/kernel/random/boot_id`, 'utf8'),
  ]);
  return { machineId: machineId.trim(), bootId: bootId.trim() };
}

/** The machine's Fibre Channel ports, and the synthesized one on the fabric `local`, where this machine's own files are. */
export async function discoverPorts(root: string): Promise<readonly Port[]> {
  const directory = `${root}/sys/class/fc_host`;
  const names = (await listOrNull(directory)) ?? [];
  const ports = await Promise.all(names.map((name) => readPort(join(directory, name))));
  return [...ports.filter((port) => port !== null), await synthesizedPort(root)];
}

/** Null when the port has no name that anybody could address: it is not usable, and nothing could refer to it. */
async function readPort(directory: string): Promise<Port | null> {
  const name = await readOrNull(join(directory, 'port_name'));
  const wwpn = name === null ? null : parsed(name);
  if (wwpn === null) return null;
  const state = stateOf(await readOrNull(join(directory, 'port_state')));
  const fabric = fabricOf(await readOrNull(join(directory, 'fabric_name')));
  return { wwpn, fabric, state, synthesized: false };
}

/** fc_host port_state of scsi_transport_fc; only `Online` carries I/O. */
function stateOf(text: string | null): PortState {
  if (text === null) return 'unreadable';
  return text === 'Online' ? 'online' : 'offline';
}

/** A fabric's name is its principal switch's; without a switch (point to point) it is zero or all ones. */
function fabricOf(text: string | null): string {
  const digits = /^0x([0-9a-f]{1,16})$/i
    .exec(text ?? '')?.[1]
    ?.toLowerCase()
    .padStart(16, '0');
  if (digits === undefined || /^(0{16}|f{16})$/.test(digits)) return 'point-to-point';
  return digits.replace(/..(?!$)/g, '$&:');
}

function parsed(name: string): Wwpn | null {
  try {
    return parseWwpn(name);
  } catch {
    return null;
  }
}

async function synthesizedPort(root: string): Promise<Port> {
  const mac = await firstMac(root);
  const wwpn = mac === null ? synthesizeWwpn({ seed: (await readIdentity(root)).machineId }) : synthesizeWwpn({ mac });
  return { wwpn, fabric: localFabric, state: 'online', synthesized: true };
}

/** Of the first interface with hardware behind it (a `device` link): virtual ones get new addresses at will. */
async function firstMac(root: string): Promise<string | null> {
  const directory = `${root}/sys/class/net`;
  for (const name of ((await listOrNull(directory)) ?? []).sort()) {
    if ((await listOrNull(join(directory, name, 'device'))) === null) continue;
    const mac = await readOrNull(join(directory, name, 'address'));
    if (mac !== null && isWwpn(macName(mac))) return mac;
  }
  return null;
}

/** Not a MAC, or all zero: no name. */
function macName(mac: string): string {
  return /^(?!00:00:00:00:00:00)([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(mac) ? synthesizeWwpn({ mac }) : '';
}

async function listOrNull(path: string): Promise<string[] | null> {
  try {
    return (await readdir(path)).sort();
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw error;
  }
}

/** Null when it cannot be read, for whatever reason: sysfs attributes answer EIO, ENODEV and the like. */
async function readOrNull(path: string): Promise<string | null> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    if (systemCodeOf(error) === null) throw error;
    return null;
  }
}
