import { limits } from '../config/limits.ts';
import type { Path } from '../domain/attachment.ts';
import { assert } from '../domain/errors.ts';
import { newId } from '../domain/ids.ts';
import type { OperationParams } from '../domain/operation.ts';
import type { AttachmentRow, HostRow, StorageNodeRow, VolumeRow } from '../store/group.ts';
import {
  blockerOf,
  failed,
  type OperationContext,
  type OperationDefinition,
  running,
  stateOf,
  succeeded,
} from './definition.ts';
import type { Model, Step } from './model.ts';
import { keysFor, type Pair, pairsOf, resolvePairs, undecidedAbout } from './paths.ts';
import { inUse, notFound, onItsWayOut, volumeKeys } from './volume-delete.ts';

type Params = OperationParams['volume.attach'];

/** Shows a volume to a host: paths by the flow policies, a LUN number for each, then the `export`. Ends at `exported`. */
export const volumeAttach: OperationDefinition<'volume.attach'> = {
  type: 'volume.attach',
  deferred: false,

  references(params, collect) {
    collect.volumes.add(params.volume);
    collect.hosts.add(params.host);
    collect.storageNodes = true;
  },

  needs(params, picture, collect) {
    const host = picture.hosts.find(({ name }) => name === params.host);
    const volume = picture.volumes.find(({ id, name }) => name === params.volume || id === params.volume);
    if (host === undefined) return;
    for (const node of picture.storageNodes) {
      if (volume !== undefined && volume.storageNode !== node.name) continue;
      for (const pair of pairsOf(host, node)) {
        needLun(collect.luns, pair);
        for (const key of keysFor(pair, params.namespace ?? null)) {
          collect.flowKeys.set(`${key.initiator_wwpn}|${key.target_wwpn}|${key.namespace}`, key);
        }
      }
    }
  },

  keys: (params, model) => volumeKeys(params.volume, model),

  plan(model, operation, params) {
    const volume = model.volume(params.volume);
    if (volume === null || volume.state === 'wiping' || volume.state === 'retired') return notFound(params.volume);
    const own = model.attachmentsOfVolume(volume.id).find(({ pendingOperation }) => pendingOperation === operation.id);
    if (own !== undefined) return goOn(model, operation, own, volume);
    return (
      blockerOf(volume, operation) ??
      existing(model, operation, volume, params) ??
      begin(model, operation, volume, params)
    );
  },
};

function needLun(luns: Map<string, { initiatorWwpn: string; targetWwpn: string; count: number }>, pair: Pair): void {
  const key = `${pair.initiatorWwpn}|${pair.targetWwpn}`;
  luns.set(key, { ...pair, count: (luns.get(key)?.count ?? 0) + 1 });
}

/** One attachment for a volume and a host: a second wish for the same answers the first. */
function existing(model: Model, operation: OperationContext, volume: VolumeRow, params: Params): Step | null {
  const row = model.attachmentsOfVolume(volume.id).find(({ host }) => host === params.host);
  if (row === undefined) return null;
  const blocker = blockerOf(row, operation);
  if (blocker !== null) return blocker;
  if (row.accessMode !== params.accessMode || row.state === 'quarantined') return inUse(model, volume);
  const claims = params.claim === true && row.hostSide === 'none';
  if (claims || !operation.decided) model.putAttachment(claims ? { ...row, hostSide: 'claimed' } : row);
  return succeeded({ kind: 'attachment', id: row.id }, true);
}

function begin(model: Model, operation: OperationContext, volume: VolumeRow, params: Params): Step {
  const host = model.hosts.get(params.host);
  if (host === undefined) return failed('host-not-found', `There is no host "${params.host}".`, { field: 'host' });
  if (volume.state !== 'allocated') {
    return failed('volume-not-ready', `Volume "${params.volume}" is ${stateOf(volume)}.`, {
      related: { volume: volume.id, state: volume.state },
    });
  }
  if (volume.writer !== null || (params.accessMode === 'single-writer' && volume.readers > 0)) {
    return onItsWayOut(model, operation, volume) ?? inUse(model, volume);
  }
  const node = model.storageNodes.get(volume.storageNode);
  if (node === undefined)
    return failed('storage-node-not-found', `Storage node "${volume.storageNode}" is not registered.`);
  return attach(model, operation, volume, host, node, params);
}

function attach(
  model: Model,
  operation: OperationContext,
  volume: VolumeRow,
  host: HostRow,
  node: StorageNodeRow,
  params: Params,
): Step {
  const namespace = params.namespace ?? null;
  // An undecided batch waits for nobody here: two could wait for each other. To it, what others hold is as it was.
  const holder = operation.decided ? undecidedAbout(model, host, node, namespace) : null;
  if (holder !== null) return { kind: 'blocked', on: holder };
  const { pairs, dropped } = resolvePairs(model, host, node, namespace);
  if (pairs.length === 0) return unreachable(host, node, dropped);
  const { commit, now, effectLeaseMs } = model.context;
  const id = newId('att', now);
  const paths = takeLuns(model, pairs, id);
  if (paths === null) {
    return failed(
      'luns-exhausted',
      `Host "${host.name}" has all ${limits.lunsPerPath} LUN numbers of storage node "${node.name}" in use.`,
    );
  }
  const taken = model.putVolume({
    ...volume,
    ...(params.accessMode === 'single-writer' ? { writer: id } : { readers: volume.readers + 1 }),
    epoch: volume.epoch + 1,
    generation: commit,
  });
  const row = model.putAttachment({
    id,
    volumeId: volume.id,
    host: host.name,
    storageNode: node.name,
    accessMode: params.accessMode,
    namespace,
    state: 'exporting',
    hostSide: params.claim === true ? 'claimed' : 'none',
    epoch: taken.epoch,
    generation: commit,
    mediaGeneration: volume.mediaGeneration,
    paths,
    heldBy: null,
    pendingOperation: operation.id,
    effect: 'issued',
    leaseUntil: now + effectLeaseMs,
    problem: null,
    createdAt: now,
    version: 0,
  });
  issueExport(model, row, taken, operation.id);
  return running;
}

function takeLuns(model: Model, pairs: readonly Pair[], attachment: string): Path[] | null {
  const paths: Path[] = [];
  for (const pair of pairs) {
    const lun = model.takeLun(pair.initiatorWwpn, pair.targetWwpn, attachment, limits.lunsPerPath);
    if (lun === null) {
      for (const path of paths) model.lunChanges.push({ ...path, attachment: null });
      return null;
    }
    paths.push({ ...pair, lun });
  }
  return paths;
}

export function issueExport(model: Model, row: AttachmentRow, volume: VolumeRow, operation: string): void {
  model.effects.push({
    operation,
    storageNode: row.storageNode,
    kind: 'export',
    request: {
      volumeId: row.volumeId,
      generation: row.generation,
      attachmentId: row.id,
      mediaGeneration: row.mediaGeneration,
      epoch: row.epoch,
      readOnly: row.accessMode === 'read-only-many',
      serial: volume.serial,
      wwid: volume.wwid,
      paths: row.paths,
    },
  });
}

export function issueUnexport(model: Model, row: AttachmentRow, operation: string): void {
  const { volumeId, generation, id: attachmentId, paths, storageNode } = row;
  model.effects.push({
    operation,
    storageNode,
    kind: 'unexport',
    request: { volumeId, generation, attachmentId, paths },
  });
}

/** Issues a further round of effects for the attachment: both rows carry the new generation. */
export function reissue(model: Model, row: AttachmentRow, change: Partial<AttachmentRow>): AttachmentRow {
  const { commit, now, effectLeaseMs } = model.context;
  const volume = model.volumes.get(row.volumeId);
  assert(volume !== null, 'attachment-without-volume');
  if (volume.generation < commit) model.putVolume({ ...volume, generation: commit });
  return model.putAttachment({ ...row, ...change, generation: commit, leaseUntil: now + effectLeaseMs });
}

function goOn(model: Model, operation: OperationContext, row: AttachmentRow, volume: VolumeRow): Step {
  if (row.effect === 'done') return { kind: 'undecided' };
  if (row.leaseUntil > model.context.now) return running;
  const again = reissue(model, row, {});
  if (row.effect === 'undo') issueUnexport(model, again, operation.id);
  else issueExport(model, again, volume, operation.id);
  return running;
}

function unreachable(host: HostRow, node: StorageNodeRow, dropped: readonly string[]): Step {
  const why =
    dropped.length > 0
      ? dropped.join(' ')
      : 'No online port of the host shares a fabric with an online port of the storage node.';
  return failed(
    'host-unreachable-paths',
    `No path is left from host "${host.name}" to storage node "${node.name}": ${why}`,
    {
      related: { host: host.name, storageNode: node.name },
    },
  );
}
