import type { VolumeRow } from '../store/group.ts';
import {
  blockerOf,
  failed,
  type OperationContext,
  type OperationDefinition,
  stateOf,
  succeeded,
  waitsForHost,
} from './definition.ts';
import type { Model, Step } from './model.ts';

/**
 * Takes the name and the owner from a volume: from this commit on the name is free and the bytes wait for the wipe
 * (or, without a pool, for destruction), which the maintenance does.
 */
export const volumeDelete: OperationDefinition<'volume.delete'> = {
  type: 'volume.delete',
  deferred: true,

  references(params, collect) {
    collect.volumes.add(params.volume);
  },

  keys: (params, model) => volumeKeys(params.volume, model),

  plan(model, operation, params) {
    const row = model.volume(params.volume);
    if (row !== null && operation.forward && isHeld(row)) return waitForOwn(model, operation, row);
    const refusal = refuse(model, operation, params.volume, row);
    if (refusal !== null || row === null) return refusal ?? notFound(params.volume);
    const wiping = model.putVolume({
      ...row,
      name: null,
      state: 'wiping',
      generation: model.context.commit,
      qosPolicy: null,
      labels: {},
      heldBy: null,
      pendingOperation: null,
      effect: null,
      leaseUntil: 0,
      allocatedAt: null,
    });
    model.tell('volume', wiping.id, row.name, 'wiping');
    return succeeded(null);
  },

  check(model, operation, params) {
    const row = model.volume(params.volume);
    const refusal = refuse(model, operation, params.volume, row);
    if (refusal !== null || row === null) return refusal ?? notFound(params.volume);
    model.putVolume(row);
    return null;
  },
};

function refuse(model: Model, operation: OperationContext, name: string, row: VolumeRow | null): Step | null {
  if (row === null || row.state === 'wiping' || row.state === 'retired') return notFound(name);
  const blocker = blockerOf(row, operation);
  if (blocker !== null) return blocker;
  if (isHeld(row) && !isLeft(model, operation, row)) return onItsWayOut(model, operation, row) ?? inUse(model, row);
  if (row.state === 'allocated') return null;
  return failed('volume-not-ready', `Volume "${name}" is ${stateOf(row)}.`, {
    related: { volume: row.id, state: row.state },
  });
}

function isHeld({ writer, readers }: VolumeRow): boolean {
  return writer !== null || readers > 0;
}

/** By all that hold it, in the same all-or-nothing batch, before this operation. */
function isLeft(model: Model, operation: OperationContext, row: VolumeRow): boolean {
  const holders = model.attachmentsOfVolume(row.id).filter(({ state }) => state !== 'quarantined');
  return !operation.decided && holders.every(({ id }) => model.leaving.get(id) === operation.batch);
}

/** For the detaches of its own batch, which was decided with both: from here on nobody else gets the volume. */
function waitForOwn(model: Model, operation: OperationContext, row: VolumeRow): Step {
  const blocker = blockerOf(row, operation);
  if (blocker !== null) return blocker;
  if (row.pendingOperation === null) model.putVolume({ ...row, heldBy: null, pendingOperation: operation.id });
  return waitsForHost;
}

/**
 * Whom to wait for when all that holds the volume is being unexported, or a batch is yet to decide about some of it:
 * operations of one volume take effect in their order. A detach that waits for its host is not waited for: nobody knows
 * for how long.
 */
export function onItsWayOut(model: Model, operation: OperationContext, row: VolumeRow): Step | null {
  const holders = model.attachmentsOfVolume(row.id).filter(({ state }) => state !== 'quarantined');
  for (const { heldBy } of holders) {
    if (heldBy !== null && heldBy !== operation.batch) return { kind: 'blocked', on: heldBy };
  }
  const [first] = holders;
  if (first === undefined || first.pendingOperation === null) return null;
  const leaving = holders.every(({ state, effect }) => state === 'detaching' && effect === 'issued');
  return leaving ? { kind: 'blocked', on: first.pendingOperation } : null;
}

/** Refuses because of an attachment, and says whose. */
export function inUse(model: Model, row: VolumeRow): Step {
  const holders = model.attachmentsOfVolume(row.id);
  const holder = holders[0];
  const names = holders.map(({ host }) => `"${host}"`).join(', ');
  return failed(
    'volume-in-use',
    `Volume "${row.name ?? row.id}" is attached to host ${names}; detach it there first.`,
    {
      related: { volume: row.id, ...(holder === undefined ? {} : { host: holder.host, attachment: holder.id }) },
    },
  );
}

export function notFound(name: string): Step {
  return failed('volume-not-found', `There is no volume "${name}".`, { field: 'volume' });
}

export function volumeKeys(nameOrId: string, model: Model): string[] {
  const row = model.volume(nameOrId);
  if (row === null) return [`volume-name:${nameOrId}`];
  return row.name === null ? [`volume:${row.id}`] : [`volume:${row.id}`, `volume-name:${row.name}`];
}
