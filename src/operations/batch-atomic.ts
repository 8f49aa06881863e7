import { assert, problem } from '../domain/errors.ts';
import { batchOf, type OperationOutcome, operationId } from '../domain/operation.ts';
import type { AttachmentRow, BatchFailure, FlowPolicyRow, PendingBatch, VolumeRow } from '../store/group.ts';
import { failed } from './definition.ts';
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
 * lets the rest go forward, `undoing` takes everything back. Nobody else touches a held row before that, and what was
 * there already is held too: the batch counts on it.
 */
export function planAtomic(progress: GroupProgress, batch: PendingBatch): void {
  if (batch.decision === 'undoing') {
    undo(progress, batch);
    return;
  }
  if (!hasBegun(progress.model, batch) && planAtOnce(progress, batch)) return;
  planRound(progress, batch);
}

interface Planned {
  readonly index: number;
  readonly step: Step;
  /** What to answer if it succeeded, as the resource was right after it. */
  readonly outcome: OperationOutcome | null;
}

/** A batch that waited without having touched anything begins as if it came just now. */
function hasBegun(model: Model, batch: PendingBatch): boolean {
  return batch.state !== 'accepted' && anyHeld(model, batch);
}

/** The whole batch in this commit; false when an effect lies in between. */
function planAtOnce(progress: GroupProgress, batch: PendingBatch): boolean {
  const checkpoint = progress.model.checkpoint();
  const planned = planAll(progress, batch, true);
  const stopper = planned.find(({ step }) => step.kind === 'failed' || step.kind === 'blocked');
  if (stopper === undefined && planned.every(({ step }) => step.kind === 'succeeded')) {
    for (const { index, outcome } of planned) if (outcome !== null) progress.endAs(batch, index, outcome);
    progress.stand(batch, { decision: 'commit' });
    return true;
  }
  if (stopper === undefined || isOwn(stopper.step, batch)) {
    progress.model.rollback(checkpoint);
    return false;
  }
  progress.model.rollback(checkpoint);
  if (stopper.step.kind === 'failed') failAll(progress, batch, { index: stopper.index, problem: stopper.step.problem });
  else if (stopper.step.kind === 'blocked') blockAll(progress, batch, stopper.step.on);
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
    model.rollback(checkpoint);
    stopRound(progress, batch, stopper);
    return;
  }
  // From here on the held rows keep the batch's place.
  for (const { index } of planned) progress.stopWaiting(operationId(batch.id, index));
  if (planned.every(({ step }) => step.kind === 'succeeded' || step.kind === 'undecided'))
    decideCommit(progress, batch, planned);
  else progress.stand(batch, { leased: true });
}

function stopRound(progress: GroupProgress, batch: PendingBatch, { index, step }: Planned): void {
  if (step.kind === 'blocked') {
    blockAll(progress, batch, step.on);
    return;
  }
  assert(step.kind === 'failed', 'atomic-stopper');
  const failure = { index, problem: step.problem };
  if (!hasBegun(progress.model, batch)) failAll(progress, batch, failure);
  else undo(progress, { ...batch, decision: 'undoing', failure });
}

function planAll(progress: GroupProgress, batch: PendingBatch, decided: boolean): Planned[] {
  const planned: Planned[] = [];
  const postponed = new Map<string, number>();
  const taken = new Map<string, number>();
  const begun = hasBegun(progress.model, batch);
  for (const { spec, index } of openOperations(batch)) {
    const step = withDefinition(spec, (definition, params): Step => {
      const operation = {
        id: operationId(batch.id, index),
        batch: batch.id,
        decided,
        forward: decided,
        committed: false,
      };
      const keys = definition.keys(params, progress.model);
      const earlier = begun ? null : progress.earlierOnKeys(keys, batch, 0);
      if (earlier !== null) return { kind: 'blocked', on: earlier };
      if (decided) return definition.plan(progress.model, operation, params);
      const [own] = keys;
      // Two deferred ones get into each other's way only over the resource itself, which is their first key.
      const after = definition.deferred
        ? taken.get(own ?? '')
        : keys.map((key) => postponed.get(key)).find((found) => found !== undefined);
      if (after !== undefined) return comesTooSoon(after);
      if (!definition.deferred) return definition.plan(progress.model, operation, params);
      for (const key of keys) postponed.set(key, index);
      taken.set(own ?? '', index);
      return definition.check?.(progress.model, operation, params) ?? { kind: 'undecided' };
    });
    planned.push({ index, step, outcome: step.kind === 'succeeded' ? progress.outcomeOf(step) : null });
    if (step.kind === 'failed') break;
  }
  return planned;
}

/**
 * What is deleted only after the decision is still there before it: an operation that builds on the deletion could
 * neither be checked nor undone.
 */
function comesTooSoon(after: number): Step {
  return failed(
    'resource-in-use',
    `Operation ${after} of the batch takes the resource away, which it does only when everything else has been carried out: this one would come too soon. Send it in a batch of its own, after this one has ended.`,
  );
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
    if (row.state === 'pending') model.tell('flow-policy', row.id, null, 'active');
    model.putFlowPolicy({ ...row, heldBy: null, pendingOperation: null, state: 'active' });
  }
  // Whoever waits for a held row need not wait for a detach that a host has to confirm.
  progress.release(batch);
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
  const operation = {
    id: operationId(batch.id, index),
    batch: batch.id,
    decided: true,
    forward: true,
    committed: true,
  };
  const step = withDefinition(spec, (definition, params) => definition.plan(progress.model, operation, params));
  if (step.kind === 'succeeded' || step.kind === 'failed') progress.end(batch, index, step);
  assert(step.kind !== 'blocked', 'atomic-deferred-blocked');
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

/** Each operation keeps its place on its keys, those behind the one that is blocked included. */
function blockAll(progress: GroupProgress, batch: PendingBatch, on: string): void {
  for (const { spec, index } of openOperations(batch)) {
    const keys = withDefinition(spec, (definition, params) => definition.keys(params, progress.model));
    progress.block(batch, index, keys, on);
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
    if (row.state !== 'pending') {
      model.putFlowPolicy({ ...row, heldBy: null });
      continue;
    }
    model.removeFlowPolicy(row);
    model.tell('flow-policy', row.id, null, 'removed');
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
  model.tell('volume', row.id, row.name, 'wiping');
  return false;
}

function anyHeld(model: Model, batch: PendingBatch): boolean {
  return [heldVolumes, heldAttachments, heldFlowPolicies].some((held) => held(model, batch).length > 0);
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
