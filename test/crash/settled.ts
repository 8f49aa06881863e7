/** Waits for the states at which a recovery is over: nothing runs, nothing is on its way, every reconciler ran since. */
import { setTimeout as sleep } from 'node:timers/promises';
import { fieldOf, listOf, textOf } from './call.ts';
import type { Service } from './service.ts';
import { readStore, type StoreImage } from './store-image.ts';

const settleTimeoutMs = 60_000;
const pollMs = 50;

const endVolumeStates: readonly string[] = ['free', 'allocated', 'failed'];

/** Null: settled. Otherwise what was still on its way at the deadline. */
export async function untilSettled(service: Service): Promise<string | null> {
  const deadline = performance.now() + settleTimeoutMs;
  for (;;) {
    const rest = await unsettled(service);
    if (rest.length === 0) return null;
    if (performance.now() > deadline) return rest.slice(0, 5).join('; ');
    await sleep(pollMs);
  }
}

async function unsettled(service: Service): Promise<string[]> {
  const mounts = await service.agent({ method: 'GET', path: '/v1/mounts' });
  if (mounts === null) return ['the agent does not answer'];
  const ending = listOf(mounts.body, 'items').filter((mount) => textOf(mount, 'state') !== 'mounted');
  return [
    ...ending.map((mount) => `mount ${JSON.stringify(mount)}`),
    ...unsettledRows(readStore(service.storeFile), service.hostName),
    ...service.helpers().map((line) => `process ${line}`),
  ];
}

function unsettledRows({ openBatches, volumes, attachments, pools }: StoreImage, hostName: string): string[] {
  const isEnded = (row: StoreImage['attachments'][number]) =>
    row.host === hostName ? row.state === 'attached' && row.host_side === 'attached' : row.state === 'exported';
  return [
    ...openBatches.map(({ id, state }) => `batch ${id} is ${state}`),
    ...volumes
      .filter((row) => !endVolumeStates.includes(row.state) || row.pending_operation !== null || row.held_by !== null)
      .map(({ id, state, effect }) => `volume ${id} is ${state} (effect ${effect})`),
    ...attachments
      .filter((row) => !isEnded(row) || row.pending_operation !== null || row.held_by !== null)
      .map(({ id, state, host_side }) => `attachment ${id} is ${state}, its host's side ${host_side}`),
    ...pools.filter((pool) => isShort(pool)).map(({ name, free }) => `pool ${name} has ${free} free`),
  ];
}

function isShort(pool: StoreImage['pools'][number]): boolean {
  const { provisioning, free, allocated, wiping, failed, retired, min_free, max_volumes } = pool;
  const room = max_volumes - (provisioning + free + allocated + wiping + failed + retired);
  return free < min_free && room > 0 && pool.blocked_reason === null;
}

/** Every reconciler, the host's included, begins and ends a run after this call. */
export async function untilReconciled(service: Service): Promise<string | null> {
  const deadline = performance.now() + settleTimeoutMs;
  const before = await runs(service);
  const since = Date.now();
  for (;;) {
    const now = await runs(service);
    // One run may have begun before: two have to end.
    const late = [...now].filter(([name, count]) => count < (before.get(name) ?? 0) + 2).map(([name]) => name);
    const agent = await isHostReconciled(service, since);
    if (late.length === 0 && now.size > 0 && agent) return null;
    if (performance.now() > deadline) return `not reconciled: ${agent ? '' : 'host '}${late.join(' ')}`;
    await sleep(pollMs);
  }
}

async function isHostReconciled(service: Service, since: number): Promise<boolean> {
  const status = await service.agent({ method: 'GET', path: '/v1/status' });
  const last = fieldOf(status?.body, 'lastReconcile');
  const at = fieldOf(last, 'at');
  const durationMs = fieldOf(last, 'durationMs');
  const began = typeof at === 'number' && typeof durationMs === 'number' ? at - durationMs : 0;
  return fieldOf(last, 'problem') === null && began > since;
}

async function runs(service: Service): Promise<ReadonlyMap<string, number>> {
  const answer = await service.controller({ method: 'GET', path: '/metrics' });
  const text = typeof answer?.body === 'string' ? answer.body : '';
  const counts = new Map<string, number>();
  for (const [, labels = '', count] of text.matchAll(/^fcr_reconcile_runs_total\{([^}]*)\} (\d+)/gm)) {
    const name = /name="([^"]+)"/.exec(labels)?.[1] ?? '';
    counts.set(name, (counts.get(name) ?? 0) + Number(count));
  }
  return counts;
}
