/**
 * The target port of a storage node without FC hardware: synthesized once, and the same ever after.
 *
 * Kept beside the data, because a machine-id can change (a container's image, a restored machine) and every flow policy
 * and attachment names the port.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Failure } from '../../domain/errors.ts';
import { parseWwpn, synthesizeWwpn, type Wwpn } from '../../domain/wwpn.ts';
import { readJson, readTextOrNull, replaceJson } from '../../system/durable-file.ts';

export interface TargetPortOptions {
  readonly dataDirectory: string;
  /** Derives the port from this text alone; nothing is kept. */
  readonly seed?: string;
  readonly machineIdPath?: string;
}

export async function localTargetPort({ dataDirectory, seed, machineIdPath }: TargetPortOptions): Promise<Wwpn> {
  if (seed !== undefined) return derived(seed);
  const path = join(dataDirectory, 'target-port.json');
  const kept = await readJson(path);
  if (kept !== null) return parseKept(path, kept);
  const machineId = (await readTextOrNull(machineIdPath ?? '/etc/machine-id'))?.trim();
  const wwpn = derived(machineId ? machineId : randomUUID());
  await replaceJson(path, { wwpn });
  return wwpn;
}

function derived(seed: string): Wwpn {
  return synthesizeWwpn({ seed: `local target ${seed}` });
}

function parseKept(path: string, kept: unknown): Wwpn {
  if (typeof kept === 'object' && kept !== null && 'wwpn' in kept) return parseWwpn(kept.wwpn, path);
  throw new Failure('data-damaged', `${path} names no port.`);
}
