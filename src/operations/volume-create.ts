import { limits } from '../config/limits.ts';
import { exactly, wholeSectors } from '../domain/byte-count.ts';
import { newId, newSerial, wwidOf } from '../domain/ids.ts';
import type { OperationParams } from '../domain/operation.ts';
import { type Labels, poollessFilesystem } from '../domain/volume.ts';
import type { Picture, PoolRow, VolumeRow } from '../store/group.ts';
import {
  blockerOf,
  doneMarks,
  failed,
  finished,
  type OperationContext,
  type OperationDefinition,
  running,
  stateOf,
  succeeded,
} from './definition.ts';
import type { Model, Step } from './model.ts';

type Params = OperationParams['volume.create'];

/**
 * Gives a name to a free volume of a pool, or, when the pool is empty or nothing is large enough, has one made
 * (`provision`). Creating again with equal fields answers the volume that is there.
 */
export const volumeCreate: OperationDefinition<'volume.create'> = {
  type: 'volume.create',
  deferred: false,

  references(params, collect) {
    collect.volumes.add(params.name);
    collect.pools = true;
    // Only what no pool may hold needs a place of its own.
    collect.storageNodes ||= params.pool === undefined && params.sizeBytes !== undefined;
    if (params.qosPolicy !== undefined) collect.qosPolicies.add(params.qosPolicy);
  },

  needs(params, picture, collect) {
    const pools = candidates(params, picture.pools);
    collect.poolless ||= pools.length === 0 && params.pool === undefined;
    for (const pool of pools) {
      const wanted = (collect.freeVolumes.get(pool.name) ?? 0) + 1;
      collect.freeVolumes.set(pool.name, wanted);
      const onDemand = pool.blockedReason === null ? room(pool, (count) => pool[count]) : 0;
      if (wanted <= pool.free + onDemand) return;
    }
  },

  keys: (params, model) => {
    const row = model.volume(params.name);
    return row === null ? [`volume-name:${params.name}`] : [`volume-name:${params.name}`, `volume:${row.id}`];
  },

  plan(model, operation, params) {
    const existing = model.volume(params.name);
    if (existing?.pendingOperation === operation.id) return goOn(model, operation, existing);
    if (existing !== null) return blockerOf(existing, operation) ?? answerExisting(model, operation, existing, params);
    if (params.qosPolicy !== undefined && !model.qosPolicies.has(params.qosPolicy)) {
      return failed('qos-policy-not-found', `There is no QoS policy "${params.qosPolicy}".`, { field: 'qosPolicy' });
    }
    return begin(model, operation, params);
  },
};

function begin(model: Model, operation: OperationContext, params: Params): Step {
  const pools = [...model.pools.values()];
  const named = params.pool === undefined ? null : model.pools.get(params.pool);
  if (named === undefined) return failed('pool-not-found', `There is no pool "${params.pool}".`, { field: 'pool' });
  const problem = named === null ? null : unusable(named, params);
  if (problem !== null) return problem;
  const usable = candidates(params, pools);
  for (const pool of usable) {
    const step = fromPool(model, operation, params, pool) ?? onDemandFromPool(model, operation, params, pool);
    if (step !== null) return step;
  }
  const [best] = usable;
  return best === undefined ? withoutPool(model, operation, params) : exhausted(model, usable, best);
}

function unusable(pool: PoolRow, params: Params): Step | null {
  if (pool.state === 'draining')
    return failed('pool-draining', `Pool "${pool.name}" is being drained.`, { field: 'pool' });
  if (params.sizeBytes === undefined || params.sizeBytes <= pool.volumeSizeBytes) return null;
  return failed(
    'no-pool-fits',
    `sizeBytes ${exactly(params.sizeBytes)} is larger than the volumes of pool "${pool.name}" are: ${exactly(pool.volumeSizeBytes)}; name a larger pool or none.`,
    { field: 'sizeBytes' },
  );
}

/** The pools that may serve the request, best first: the named one, or by size; `default` first when no size is stated. */
export function candidates(params: Params, pools: Picture['pools']): PoolRow[] {
  if (params.pool !== undefined) return pools.filter((pool) => pool.name === params.pool);
  const size = params.sizeBytes ?? 0;
  const usable = pools.filter((pool) => pool.state === 'active' && pool.volumeSizeBytes >= size);
  const rank = (pool: PoolRow) =>
    params.sizeBytes === undefined && pool.name === 'default' ? -1 : pool.volumeSizeBytes;
  return usable.sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
}

/** Of a retired volume the bytes may still be there: a pool whose storage takes nothing back does not grow for ever. */
const counted = ['provisioning', 'free', 'allocated', 'wiping', 'failed', 'retired'] as const;

function room(pool: PoolRow, count: (name: (typeof counted)[number]) => number): number {
  return pool.maxVolumes - counted.reduce((sum, name) => sum + count(name), 0);
}

function fromPool(model: Model, operation: OperationContext, params: Params, pool: PoolRow): Step | null {
  const free = pool.blockedReason === null ? model.takeFree(pool.name) : null;
  if (free === null) return null;
  const { commit, now } = model.context;
  const row = model.putVolume({
    ...free,
    ...ownership(params),
    state: 'allocated',
    generation: commit,
    allocatedAt: now,
    ...doneMarks(operation),
  });
  model.addCount(pool.name, 'hits', 1);
  model.tell('volume', row.id, row.name, 'allocated');
  return finished(operation, { kind: 'volume', id: row.id });
}

function onDemandFromPool(model: Model, operation: OperationContext, params: Params, pool: PoolRow): Step | null {
  if (pool.blockedReason !== null) return null;
  if (room(pool, (name) => model.poolCount(pool, name)) <= 0) return null;
  model.addCount(pool.name, 'misses', 1);
  return provision(model, operation, params, {
    pool: pool.name,
    storageNode: pool.storageNode,
    backend: pool.backend,
    sizeBytes: pool.volumeSizeBytes,
    filesystem: pool.filesystem,
  });
}

function withoutPool(model: Model, operation: OperationContext, params: Params): Step {
  const node = [...model.storageNodes.values()].find(({ backends }) => backends.length > 0);
  const backend = node?.backends[0];
  if (params.sizeBytes === undefined || node === undefined || backend === undefined) {
    return failed('no-pool-fits', 'There is no pool to take a volume from; create a pool, or state sizeBytes.', {
      field: 'pool',
    });
  }
  if (model.retiredPoolless >= limits.retiredPoolless) {
    const detail = `${model.retiredPoolless} volumes without a pool could be neither made nor destroyed; the log has the cause. No more are made before that is mended.`;
    return failed('storage-failed', detail, { related: { storageNode: node.name } });
  }
  return provision(model, operation, params, {
    pool: null,
    storageNode: node.name,
    backend,
    sizeBytes: params.sizeBytes,
    filesystem: poollessFilesystem,
  });
}

function provision(
  model: Model,
  operation: OperationContext,
  params: Params,
  place: Pick<VolumeRow, 'pool' | 'storageNode' | 'backend' | 'sizeBytes' | 'filesystem'>,
): Step {
  const { commit, now, effectLeaseMs } = model.context;
  const serial = newSerial();
  const row: VolumeRow = {
    ...place,
    ...ownership(params),
    id: newId('vol', now),
    state: 'provisioning',
    generation: commit,
    mediaGeneration: commit,
    serial,
    wwid: wwidOf(serial),
    formatted: false,
    epoch: 0,
    writer: null,
    readers: 0,
    heldBy: null,
    pendingOperation: operation.id,
    effect: 'issued',
    leaseUntil: now + effectLeaseMs,
    failureReason: null,
    wipeProof: null,
    createdAt: now,
    allocatedAt: now,
    version: 0,
  };
  issueProvision(model, model.putVolume(row), operation.id);
  return running;
}

function issueProvision(model: Model, row: VolumeRow, operation: string): void {
  const { id: volumeId, storageNode, backend, generation, mediaGeneration, sizeBytes, filesystem } = row;
  const request = { volumeId, backend, generation, mediaGeneration, sizeBytes, filesystem };
  model.effects.push({ operation, storageNode, kind: 'provision', request });
}

export function issueDestroy(model: Model, row: VolumeRow, operation: string): void {
  const { id: volumeId, storageNode, backend, generation } = row;
  model.effects.push({ operation, storageNode, kind: 'destroy', request: { volumeId, backend, generation } });
}

/** The lease of an effect has run out: it is issued again under a higher generation, which shuts the old call out. */
function goOn(model: Model, operation: OperationContext, row: VolumeRow): Step {
  if (row.effect === 'done') return { kind: 'undecided' };
  const { commit, now, effectLeaseMs } = model.context;
  if (row.leaseUntil > now) return running;
  const again = model.putVolume({ ...row, generation: commit, leaseUntil: now + effectLeaseMs });
  if (row.effect === 'undo') issueDestroy(model, again, operation.id);
  else issueProvision(model, again, operation.id);
  return running;
}

function ownership(params: Params): { name: string; qosPolicy: string | null; labels: Labels } {
  return { name: params.name, qosPolicy: params.qosPolicy ?? null, labels: params.labels ?? {} };
}

function answerExisting(model: Model, operation: OperationContext, row: VolumeRow, params: Params): Step {
  const field = differingField(row, params);
  if (row.state === 'failed') {
    return failed('volume-not-ready', `Volume "${params.name}" is ${stateOf(row)}.`, { field: 'name' });
  }
  if (field === null) {
    if (!operation.decided) model.putVolume(row);
    return succeeded({ kind: 'volume', id: row.id }, true);
  }
  return failed('name-taken', `A volume "${params.name}" exists already, with another ${field}.`, {
    field,
    related: { volume: row.id },
  });
}

function differingField(row: VolumeRow, params: Params): string | null {
  if (params.pool !== undefined && params.pool !== row.pool) return 'pool';
  if (params.sizeBytes !== undefined && params.sizeBytes > wholeSectors(row.sizeBytes)) return 'sizeBytes';
  if (params.qosPolicy !== undefined && params.qosPolicy !== row.qosPolicy) return 'qosPolicy';
  if (params.labels !== undefined && !sameLabels(params.labels, row.labels)) return 'labels';
  return null;
}

function sameLabels(a: Labels, b: Labels): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}

function exhausted(model: Model, pools: readonly PoolRow[], best: PoolRow): Step {
  const names = pools.map(({ name }) => `"${name}"`).join(', ');
  const why = best.blockedReason ?? allInUse(model, best);
  return failed('pool-exhausted', `No volume is left in pool ${names}: ${why}.`, { field: 'pool' });
}

const unready = {
  wiping: 'are being wiped',
  provisioning: 'are being made',
  retired: 'wait to be destroyed',
} as const;

function allInUse(model: Model, pool: PoolRow): string {
  const counts = (['wiping', 'provisioning', 'retired'] as const).map(
    (state) => [state, model.poolCount(pool, state)] as const,
  );
  const waiting = counts.filter(([, count]) => count > 0).map(([state, count]) => `${count} of them ${unready[state]}`);
  const whom = waiting.length === 0 ? '' : ` (${waiting.join(', ')})`;
  const isComing = counts.some(([state, count]) => state !== 'retired' && count > 0);
  const remedy = isComing ? 'repeat this in a moment, or raise maxVolumes' : 'raise maxVolumes or delete volumes';
  return `all ${pool.maxVolumes} volumes are in use${whom}; ${remedy}`;
}
