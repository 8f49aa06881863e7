/**
 * When to kill: at random, or right after something that can be seen from outside, so that kills fall into every step
 * and not only into the long ones. The product has no hooks for this.
 */
import { type FSWatcher, readFileSync, watch } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from './random.ts';
import type { Service } from './service.ts';
import type { StoreImage } from './store-image.ts';
import { listOrEmpty, loopDevicesOn } from './world.ts';

export const triggers = [
  'at random',
  'commit',
  'medium',
  'mkfs',
  'fence',
  'export log',
  'export link',
  'mount journal',
  'mount point',
  'loop device',
  'start',
] as const;
export type Trigger = (typeof triggers)[number];

/** A trigger that does not come is not waited for. */
const triggerTimeoutMs = 2_000;

/** Waits for the trigger's event, some occurrences of it, and a moment of chance. */
export async function untilTrigger(service: Service, trigger: Trigger, random: Random): Promise<void> {
  const occurrences = 1 + random.below(4);
  if (trigger === 'at random') await sleep(random.below(600));
  else if (trigger === 'mkfs') await untilSeen(() => hasMkfs(service.pid));
  else if (trigger === 'loop device') await untilLoopsChange(service, occurrences);
  else await untilChanged(placeOf(service, trigger), occurrences);
  const pause = random.below(4);
  if (pause > 0) await sleep(random.below(pause * 4));
}

function placeOf(service: Service, trigger: Trigger): { readonly path: string; readonly name: RegExp } {
  const at = (...parts: string[]) => join(service.dataDirectory, ...parts);
  switch (trigger) {
    case 'medium':
      return { path: at('volumes'), name: /^(\.new-)?vol_.*\.img$/ };
    case 'fence':
      return { path: at(), name: /^fence\.log$/ };
    case 'export log':
      return { path: at(), name: /^exports\.log$/ };
    case 'export link':
      return { path: linkDirectory(at('exports')), name: /./ };
    case 'mount journal':
      return { path: at('agent'), name: /^mounts\.journal/ };
    case 'mount point':
      return { path: at('host', 'mnt'), name: /./ };
    default:
      return { path: at(), name: /^store\.sqlite-wal$/ };
  }
}

function linkDirectory(exports: string): string {
  const [target] = listOrEmpty(exports);
  const [initiator] = target === undefined ? [] : listOrEmpty(join(exports, target));
  return target === undefined || initiator === undefined ? exports : join(exports, target, initiator);
}

async function untilChanged(
  place: { readonly path: string; readonly name: RegExp },
  occurrences: number,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let left = occurrences;
  let watcher: FSWatcher | null = null;
  try {
    watcher = watch(place.path, (_event, name) => {
      if (name === null || !place.name.test(name)) return;
      left -= 1;
      if (left === 0) resolve();
    });
    await Promise.race([promise, sleep(triggerTimeoutMs, null, { ref: false })]);
  } finally {
    watcher?.close();
  }
}

async function untilLoopsChange(service: Service, occurrences: number): Promise<void> {
  for (let left = occurrences; left > 0; left -= 1) {
    const before = loopDevicesOn(service.dataDirectory).length;
    await untilSeen(() => loopDevicesOn(service.dataDirectory).length !== before);
  }
}

async function untilSeen(isSeen: () => boolean): Promise<void> {
  const deadline = performance.now() + triggerTimeoutMs;
  while (!isSeen() && performance.now() < deadline) await sleep(1);
}

function hasMkfs(pid: number): boolean {
  return listOrEmpty(`/proc/${pid}/task`).some((task) => childrenOf(pid, task).some((child) => isMkfs(child)));
}

function childrenOf(pid: number, task: string): string[] {
  return read(`/proc/${pid}/task/${task}/children`)
    .split(' ')
    .filter((child) => child !== '');
}

function isMkfs(pid: string): boolean {
  return read(`/proc/${pid}/comm`).startsWith('mk');
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/**
 * What was under way when the process died, by what it left: a kill can fall into several at once. `unanswered` are the
 * idempotency keys of requests that were under way.
 */
export function phasesOf(service: Service, store: StoreImage | null, unanswered: readonly string[]): string[] {
  if (store === null) return ['first start'];
  const { openBatches, volumes, attachments } = store;
  const has = (condition: boolean, phase: string) => (condition ? [phase] : []);
  const names = listOrEmpty(service.volumesDirectory);
  const phases = [
    ...has(
      openBatches.some(({ state }) => state === 'accepted'),
      'journal',
    ),
    ...has(
      openBatches.some(({ decision }) => decision !== null),
      'decision',
    ),
    ...has(
      volumes.some((row) => row.effect !== null && row.pending_operation !== null),
      'provision effect',
    ),
    ...has(
      attachments.some(({ state, effect }) => state === 'exporting' && effect === 'issued'),
      'export effect',
    ),
    ...has(
      attachments.some(({ effect }) => effect === 'undo'),
      'undo effect',
    ),
    ...has(
      attachments.some(({ state, effect }) => state === 'detaching' && effect === 'issued'),
      'unexport effect',
    ),
    ...has(
      attachments.some(({ state, host_side }) => state !== 'detaching' && host_side === 'claimed'),
      'attach on the host',
    ),
    ...has(
      attachments.some(({ state, host_side }) => state === 'detaching' && host_side !== 'none'),
      'detach on the host',
    ),
    ...has(
      volumes.some(({ state }) => state === 'wiping'),
      'wipe',
    ),
    ...has(
      volumes.some((row) => row.state === 'provisioning' && row.pending_operation === null),
      'refill',
    ),
    ...has(
      names.some((name) => name.startsWith('.new-')),
      'medium half made',
    ),
    ...has(service.helpers().length > 0, 'mkfs left behind'),
  ];
  const reached = unanswered.map((key) => progressOf(store, key));
  const all = [...phases, ...reached.filter((phase) => phase !== null)];
  return all.length > 0 ? [...new Set(all)] : ['nothing that can be told'];
}

/** How far a request with this key had come that was not answered; null: its phase is told by the rows. */
function progressOf({ keys, openBatches }: StoreImage, key: string): string | null {
  const row = keys.find((each) => each.key === key);
  if (row === undefined) return 'before the journal';
  return openBatches.some(({ id }) => id === row.batch) ? null : 'after the settle, before the answer';
}
