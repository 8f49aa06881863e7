import { assert, problem } from '../domain/errors.ts';
import { batchOf, operationId } from '../domain/operation.ts';
import type { AttachmentRow, BatchFailure, FlowPolicyRow, PendingBatch, VolumeRow } from '../store/group.ts';
import type { GroupProgress } from './group-progress.ts';
import type { Model, ResourceName, Step } from './model.ts';
import { openOperations } from './open-operations.ts';
import { withDefinition } from './registry.ts';
import { issueUnexport, reissue } from './volume-attach.ts';
import { issueDestroy } from './volume-create.ts';

/**
 * All operations of the batch take effect, or none.
 *
 * Without effects it is decided in the commit that plans it. With effects there are rounds: what can be undone is done
 * and held for the batch, what cannot (delete, detach, removal) is checked and held; then ONE durable decision: `commit`
 * lets the rest go forward, `undoing` takes everything back. Nobody else touches a held row before that.
 */
export function planAtomic(progress: GroupProgress, batch: PendingBatch): void {
  if (batch.decision === 'undoing') {
    undo(progress, batch);
    return;
  }
  if (batch.state === 'accepted' && planAtOnce(progress, batch)) return;
  planRound(progress, batch);
}

interface Planned {
  readonly index: number;
  readonly keys: readonly string[];
  readonly deferred: boolean;
  readonly step: Step;
}

/** The whole batch in this commit; false when an effect lies in between. */
function planAtOnce(progress: GroupProgress, batch: PendingBatch): boolean {
  const checkpoint = progress.model.checkpoint();
  const planned = planAll(progress, batch, true);
  const stopper = planned.find(({ step }) => step.kind === 'failed' || step.kind === 'blocked');
  if (stopper === undefined && planned.every(({ step }) => step.kind === 'succeeded')) {
    for (const { index, step } of planned) if (step.kind === 'succeeded') progress.end(batch, index, step);
    progress.stand(batch, { decision: 'commit' });
    return true;
  }
  if (stopper === undefined || isOwn(stopper.step, batch)) {
    progress.model.rollback(checkpoint);
    return false;
  }
  const keys = planned.map((one) => one.keys);
  progress.model.rollback(checkpoint);
  if (stopper.step.kind === 'failed') failAll(progress, batch, { index: stopper.index, problem: stopper.step.problem });
  else if (stopper.step.kind === 'blocked') blockAll(progress, batch, keys, stopper.step.on);
  return true;
}

function planRound(progress: GroupProgress, batch: PendingBatch): void {
  const { model } = progress;
  const checkpoint = model.checkpoint();
  model.holder = batch.id;
  const planned = planAll(progress, batch, false);
  model.holder = null;
  const stopper = planned.find(
    ({ step }) => step.kind === 'failed' || (step.kind === 'blocked' && !isOwn(step, batch)),
  );
  if (stopper !== undefined) {
    const keys = planned.map((one) => one.keys);
    model.rollback(checkpoint);
    stopRound(progress, batch, stopper, keys);
    return;
  }
  if (planned.every(({ step }) => step.kind === 'succeeded' || step.kind === 'undecided'))
    decideCommit(progress, batch, planned);
  else progress.stand(batch, { leased: true });
}

function stopRound(
  progress: GroupProgress,
  batch: PendingBatch,
  { index, step }: Planned,
  keys: readonly (readonly string[])[],
): void {
  if (step.kind === 'blocked') {
    blockAll(progress, batch, keys, step.on);
    return;
  }
  assert(step.kind === 'failed', 'atomic-stopper');
  const failure = { index, problem: step.problem };
  if (batch.state === 'accepted') failAll(progress, batch, failure);
  else undo(progress, { ...batch, decision: 'undoing', failure });
}

function planAll(progress: GroupProgress, batch: PendingBatch, decided: boolean): Planned[] {
  const planned: Planned[] = [];
  for (const { spec, index } of openOperations(batch)) {
    const operation = { id: operationId(batch.id, index), batch: batch.id, decided };
    const one = withDefinition(spec, (definition, params): Planned => {
      const keys = definition.keys(params, progress.model);
      const earlier = progress.earlierOnKeys(keys, batch, index);
      if (earlier !== null)
        return { index, keys, deferred: definition.deferred, step: { kind: 'blocked', on: earlier } };
      if (decided || !definition.deferred) {
        return { index, keys, deferred: definition.deferred, step: definition.plan(progress.model, operation, params) };
      }
      const step = definition.check?.(progress.model, operation, params) ?? { kind: 'undecided' as const };
      return { index, keys, deferred: true, step };
    });
    planned.push(one);
    if (one.step.kind === 'failed') break;
  }
  return planned;
}

function isOwn(step: Step, batch: PendingBatch): boolean {
  return step.kind === 'blocked' && (step.on === batch.id || batchOf(step.on).batch === batch.id);
}

function decideCommit(progress: GroupProgress, batch: PendingBatch, planned: readonly Planned[]): void {
  const { model } = progress;
  const made = new Map<string, ResourceName>();
  for (const row of heldVolumes(model, batch)) {
    if (row.pendingOperation !== null) made.set(row.pendingOperation, { kind: 'volume', id: row.id });
    model.putVolume({ ...row, heldBy: null, pendingOperation: null, effect: null, leaseUntil: 0 });
  }
  for (const row of heldAttachments(model, batch)) {
    if (row.pendingOperation !== null) made.set(row.pendingOperation, { kind: 'attachment', id: row.id });
    model.putAttachment({ ...row, heldBy: null, pendingOperation: null, effect: null, leaseUntil: 0 });
  }
  for (const row of heldFlowPolicies(model, batch)) {
    if (row.pendingOperation !== null) made.set(row.pendingOperation, { kind: 'flow-policy', id: row.id });
    model.putFlowPolicy({ ...row, heldBy: null, pendingOperation: null, state: 'active' });
  }
  let leased = false;
  for (const one of planned) leased = endDecided(progress, batch, one, made) || leased;
  progress.stand(batch, { decision: 'commit', leased });
}

function endDecided(
  progress: GroupProgress,
  batch: PendingBatch,
  one: Planned,
  made: ReadonlyMap<string, ResourceName>,
): boolean {
  const id = operationId(batch.id, one.index);
  const resource = made.get(id);
  if (resource !== undefined) progress.end(batch, one.index, { kind: 'succeeded', resource, existing: false });
  else if (one.step.kind === 'succeeded') progress.end(batch, one.index, one.step);
  else return planDeferred(progress, batch, one.index);
  return false;
}

function planDeferred(progress: GroupProgress, batch: PendingBatch, index: number): boolean {
  const spec = batch.operations[index];
  assert(spec !== undefined, 'atomic-deferred-operation');
  const operation = { id: operationId(batch.id, index), batch: batch.id, decided: true };
  const step = withDefinition(spec, (definition, params) => definition.plan(progress.model, operation, params));
  if (step.kind === 'succeeded' || step.kind === 'failed') progress.end(batch, index, step);
  return step.kind === 'running' && step.leased;
}

function failAll(progress: GroupProgress, batch: PendingBatch, failure: BatchFailure): void {
  const other = problem(
    'batch-aborted',
    `Operation ${failure.index} of the all-or-nothing batch failed: ${failure.problem.detail}`,
  );
  for (const { index } of openOperations(batch)) {
    progress.end(batch, index, { kind: 'failed', problem: index === failure.index ? failure.problem : other });
  }
  progress.stand(batch, { failure });
}

function blockAll(
  progress: GroupProgress,
  batch: PendingBatch,
  keys: readonly (readonly string[])[],
  on: string,
): void {
  let position = 0;
  for (const { index } of openOperations(batch)) {
    progress.block(batch, index, keys[position] ?? [], on);
    position += 1;
  }
  progress.stand(batch, {});
}

/** Takes back, step by step and repeatably, what the batch has done; ends it when nothing of it is left. */
function undo(progress: GroupProgress, batch: PendingBatch): void {
  const { model } = progress;
  assert(batch.failure !== null, 'undo-without-failure');
  let leased = false;
  for (const row of heldAttachments(model, batch)) leased = undoAttachment(model, row) || leased;
  for (const row of heldVolumes(model, batch)) leased = undoVolume(model, row) || leased;
  for (const row of heldFlowPolicies(model, batch)) {
    if (row.state === 'pending') model.removeFlowPolicy(row);
    else model.putFlowPolicy({ ...row, heldBy: null });
  }
  const left = heldAttachments(model, batch).length + heldVolumes(model, batch).length;
  if (left === 0) failAll(progress, { ...batch, decision: 'undoing' }, batch.failure);
  else progress.stand(batch, { decision: 'undoing', failure: batch.failure, leased });
}

function undoAttachment(model: Model, row: AttachmentRow): boolean {
  if (row.pendingOperation === null) {
    model.putAttachment({ ...row, heldBy: null });
    return false;
  }
  if (row.effect === 'undo' && row.leaseUntil > model.context.now) return true;
  issueUnexport(model, reissue(model, row, { effect: 'undo' }), row.pendingOperation);
  return true;
}

function undoVolume(model: Model, row: VolumeRow): boolean {
  // Its attachment's way back comes first: it raises the volume's generation and releases the writer.
  if (model.attachmentsOfVolume(row.id).some(({ heldBy }) => heldBy === row.heldBy)) return true;
  if (row.pendingOperation === null) {
    model.putVolume({ ...row, heldBy: null });
    return false;
  }
  const { commit, now, effectLeaseMs } = model.context;
  if (row.state === 'provisioning') {
    if (row.effect === 'undo' && row.leaseUntil > now) return true;
    const again = model.putVolume({ ...row, effect: 'undo', generation: commit, leaseUntil: now + effectLeaseMs });
    issueDestroy(model, again, row.pendingOperation);
    return true;
  }
  const none = {
    heldBy: null,
    pendingOperation: null,
    effect: null,
    leaseUntil: 0,
    name: null,
    qosPolicy: null,
    labels: {},
    allocatedAt: null,
  };
  model.putVolume({ ...row, ...none, state: 'wiping', generation: commit });
  return false;
}

function heldVolumes(model: Model, batch: PendingBatch): VolumeRow[] {
  return [...model.volumes.all()].filter(({ heldBy }) => heldBy === batch.id);
}

function heldAttachments(model: Model, batch: PendingBatch): AttachmentRow[] {
  return [...model.attachments.all()].filter(({ heldBy }) => heldBy === batch.id);
}

function heldFlowPolicies(model: Model, batch: PendingBatch): FlowPolicyRow[] {
  return [...model.flowPolicies.all()].filter(({ heldBy }) => heldBy === batch.id);
}
