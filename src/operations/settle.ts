import { assert, type Problem } from '../domain/errors.ts';
import { batchOf } from '../domain/operation.ts';
import type { AttachmentRow, BatchFailure, PendingBatch, VolumeRow } from '../store/group.ts';
import type { Effect, EffectOutcome } from '../store/store.ts';
import { failed, succeeded } from './definition.ts';
import type { GroupProgress } from './group-progress.ts';
import type { Model, Step } from './model.ts';
import { storageProblem } from './storage-problem.ts';
import { issueUnexport, reissue } from './volume-attach.ts';
import { issueDestroy } from './volume-create.ts';
import { hostHasLetGo } from './volume-detach.ts';

/** A refused effect of the way back or of a detach is tried again after this long. */
const effectRetryMs = 2_000;

type Result = EffectOutcome['result'];
type EffectOf<K extends Effect['kind']> = Extract<Effect, { kind: K }>;

/** What an effect's outcome means for its operation; null: it is not the present one's, and says nothing. */
type Settled = Step | { readonly kind: 'undoing'; readonly problem: Problem } | { readonly kind: 'again' } | null;

/**
 * Carries the outcomes of effects into the rows. An outcome counts only if it has the row's present generation: a
 * worker that was given up may still report, and is not heard.
 */
export function settleAll(
  progress: GroupProgress,
  outcomes: readonly EffectOutcome[],
  batches: readonly PendingBatch[],
): void {
  const byId = new Map(batches.map((batch) => [batch.id, batch]));
  const touched = new Map<string, Touch>();
  for (const { effect, result } of outcomes) {
    const { batch: id, index } = batchOf(effect.operation);
    const batch = byId.get(id);
    if (batch === undefined || progress.isEnded(batch, index)) continue;
    const undecided = batch.atomicity === 'all-or-nothing' && batch.decision !== 'commit';
    const settled = settleOne(progress.model, effect, result, undecided);
    if (settled === null) continue;
    const touch = touched.get(id) ?? { batch, leased: false, again: false, failure: null };
    touched.set(id, touch);
    if (settled.kind === 'undoing') touch.failure ??= { index, problem: settled.problem };
    else if (settled.kind === 'running') touch.leased = true;
    else if (settled.kind === 'again') touch.again = true;
    else if (settled.kind === 'succeeded' || settled.kind === 'failed') progress.end(batch, index, settled);
  }
  for (const touch of touched.values()) stand(progress, touch);
}

interface Touch {
  readonly batch: PendingBatch;
  leased: boolean;
  /** An effect is to be issued anew at once. */
  again: boolean;
  failure: BatchFailure | null;
}

function stand(progress: GroupProgress, { batch, leased, again, failure }: Touch): void {
  const undecided = batch.atomicity === 'all-or-nothing' && batch.decision !== 'commit';
  if (!undecided) {
    // Other operations of the batch may still be in flight under the lease that the batch has.
    progress.stand(batch, { leased: true, ready: batch.ready || again || mayWaitForOwn(batch) });
    return;
  }
  const undoing = failure !== null && batch.decision === null;
  progress.stand(batch, { leased, ready: true, ...(undoing ? { decision: 'undoing' as const, failure } : {}) });
}

/** A deletion may wait for the detaches of its own all-or-nothing batch. */
function mayWaitForOwn({ atomicity, operations }: PendingBatch): boolean {
  return atomicity === 'all-or-nothing' && operations.some(({ type }) => type === 'volume.delete');
}

function settleOne(model: Model, effect: Effect, result: Result, undecided: boolean): Settled {
  switch (effect.kind) {
    case 'provision':
      return settleProvision(model, effect, result, undecided);
    case 'destroy':
      return settleDestroy(model, effect, result, undecided);
    case 'export':
      return settleExport(model, effect, result, undecided);
    case 'unexport':
      return settleUnexport(model, effect, result, undecided);
  }
}

function settleProvision(model: Model, effect: EffectOf<'provision'>, result: Result, undecided: boolean): Settled {
  const row = presentVolume(model, effect);
  if (row === null || row.effect !== 'issued') return null;
  if (!result.ok) {
    const problem = storageProblem(result.problem, effect.storageNode, 'make the volume');
    return undoProvision(model, row, effect.operation, problem, undecided);
  }
  const marks = undecided
    ? ({ effect: 'done', leaseUntil: 0 } as const)
    : ({ effect: null, pendingOperation: null, leaseUntil: 0 } as const);
  model.putVolume({ ...row, ...marks, state: 'allocated', formatted: result.formatted === true });
  model.tell('volume', row.id, row.name, 'allocated');
  return undecided ? { kind: 'undecided' } : succeeded({ kind: 'volume', id: row.id });
}

function undoProvision(model: Model, row: VolumeRow, operation: string, problem: Problem, undecided: boolean): Settled {
  const { commit, now, effectLeaseMs } = model.context;
  const failureReason = JSON.stringify(problem);
  if (undecided) {
    model.putVolume({ ...row, effect: 'undo', failureReason, leaseUntil: 0 });
    return { kind: 'undoing', problem };
  }
  const again = model.putVolume({
    ...row,
    effect: 'undo',
    failureReason,
    generation: commit,
    leaseUntil: now + effectLeaseMs,
  });
  issueDestroy(model, again, operation);
  return { kind: 'running', leased: true };
}

function settleDestroy(model: Model, effect: EffectOf<'destroy'>, result: Result, undecided: boolean): Settled {
  const row = presentVolume(model, effect);
  if (row === null || row.effect !== 'undo') return null;
  if (!result.ok && result.problem.code === 'stale-generation') {
    model.putVolume({ ...row, leaseUntil: model.context.now + effectRetryMs });
    return { kind: 'running', leased: true };
  }
  if (result.ok) model.removeVolume(row);
  else retire(model, row, result.problem);
  model.tell('volume', row.id, row.name, result.ok ? 'removed' : 'retired');
  if (undecided) return { kind: 'undecided' };
  const { code, detail, ...options } = JSON.parse(
    row.failureReason ?? '{"code":"internal","detail":"unknown"}',
  ) as Problem;
  return failed(code, detail, options);
}

/** What cannot be taken back at once is left to the maintenance: nobody waits for a storage node that is being mended. */
function retire(model: Model, row: VolumeRow, { code, detail }: Problem): void {
  const nobodys = { name: null, qosPolicy: null, labels: {}, heldBy: null, pendingOperation: null, effect: null };
  const leaseUntil = model.context.now + effectRetryMs;
  model.putVolume({ ...row, ...nobodys, state: 'retired', failureReason: `${code}: ${detail}`, leaseUntil });
}

function settleExport(model: Model, effect: EffectOf<'export'>, result: Result, undecided: boolean): Settled {
  const row = presentAttachment(model, effect);
  if (row === null || row.effect !== 'issued' || row.state !== 'exporting') return null;
  if (result.ok) return exported(model, row, undecided);
  if (result.problem.code === 'stale-generation') {
    // A later round for another attachment of the volume came first: it says nothing about this one.
    model.putAttachment({ ...row, leaseUntil: 0 });
    return { kind: 'again' };
  }
  const problem = storageProblem(result.problem, effect.storageNode, 'show the volume to the host');
  if (undecided) {
    model.putAttachment({ ...row, effect: 'undo', problem, leaseUntil: 0 });
    return { kind: 'undoing', problem };
  }
  const again = reissue(model, row, { effect: 'undo', problem });
  issueUnexport(model, again, effect.operation);
  return { kind: 'running', leased: true };
}

function exported(model: Model, row: AttachmentRow, undecided: boolean): Settled {
  const marks = undecided
    ? ({ effect: 'done', leaseUntil: 0 } as const)
    : ({ effect: null, pendingOperation: null, leaseUntil: 0 } as const);
  model.putAttachment({ ...row, ...marks, state: 'exported' });
  model.tell('attachment', row.id, null, 'exported');
  return undecided ? { kind: 'undecided' } : succeeded({ kind: 'attachment', id: row.id });
}

function settleUnexport(model: Model, effect: EffectOf<'unexport'>, result: Result, undecided: boolean): Settled {
  const row = presentAttachment(model, effect);
  if (row === null || row.effect === 'done' || row.effect === null) return null;
  if (!result.ok) {
    model.putAttachment({ ...row, leaseUntil: model.context.now + effectRetryMs });
    return { kind: 'running', leased: true };
  }
  if (row.state !== 'quarantined') releaseVolume(model, row);
  if (row.effect === 'issued' && !hostHasLetGo(row)) return fence(model, row);
  model.removeAttachment(row);
  model.tell('attachment', row.id, null, 'released');
  if (row.effect === 'issued') return succeeded(null);
  if (undecided) return { kind: 'undecided' };
  assert(row.problem !== null, 'undone-export-without-problem');
  return { kind: 'failed', problem: row.problem };
}

/** Cut off by the target while the host may still hold the device: the LUN numbers stay taken until it says "gone". */
function fence(model: Model, row: AttachmentRow): Step {
  model.putAttachment({ ...row, state: 'quarantined', pendingOperation: null, effect: null, leaseUntil: 0 });
  if (row.state !== 'quarantined') model.tell('attachment', row.id, null, 'quarantined');
  return succeeded(null);
}

function releaseVolume(model: Model, row: AttachmentRow): void {
  const volume = model.volumes.get(row.volumeId);
  assert(volume !== null, 'released-attachment-without-volume');
  assert(row.accessMode !== 'single-writer' || volume.writer === row.id, 'released-attachment-not-the-writer');
  const released = row.accessMode === 'single-writer' ? { writer: null } : { readers: volume.readers - 1 };
  model.putVolume({ ...volume, ...released });
}

function presentVolume(
  model: Model,
  { operation, request }: EffectOf<'provision'> | EffectOf<'destroy'>,
): VolumeRow | null {
  const row = model.volumes.get(request.volumeId);
  return row?.pendingOperation === operation && row.generation === request.generation ? row : null;
}

function presentAttachment(
  model: Model,
  { operation, request }: EffectOf<'export'> | EffectOf<'unexport'>,
): AttachmentRow | null {
  const row = model.attachments.get(request.attachmentId);
  return row?.pendingOperation === operation && row.generation === request.generation ? row : null;
}
