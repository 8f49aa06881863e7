import { assert } from '../domain/errors.ts';
import type { Decision, OperationOutcome, OperationResource } from '../domain/operation.ts';
import { batchOf, operationId } from '../domain/operation.ts';
import type { BatchChange, BatchFailure, EndedOperation, GroupPlan, PendingBatch, Wait } from '../store/group.ts';
import { attachmentView, flowPolicyView, volumeView } from '../store/views.ts';
import type { Model, ResourceName, Step } from './model.ts';

type Ended = Extract<Step, { kind: 'succeeded' | 'failed' }>;

/** What a group has come to so far: outcomes, waits, changes of batches; ends as the plan to write. */
export class GroupProgress {
  readonly model: Model;
  readonly #outcomes: EndedOperation[] = [];
  readonly #ended = new Map<string, Set<number>>();
  readonly #batches = new Map<string, BatchChange>();
  readonly #blocks: { blocker: string; batchSeq: number }[] = [];
  readonly #newWaits: Wait[] = [];
  readonly #waits = new Map<string, Wait[]>();
  readonly #keysOfWaiting = new Map<string, Set<string>>();
  readonly #unblocked: string[] = [];

  constructor(model: Model, waits: readonly Wait[]) {
    this.model = model;
    for (const wait of waits) this.#remember(wait);
  }

  /**
   * The operation that comes first on one of the keys, if there is one; the keys' order is kept by waiting for it.
   * Index 0 asks for those of earlier batches alone.
   */
  earlierOnKeys(keys: readonly string[], batch: PendingBatch, index: number): string | null {
    for (const key of keys) {
      const earlier = this.#waits.get(key)?.find((wait) => isBefore(wait, batch, index));
      if (earlier !== undefined) return earlier.operation;
    }
    return null;
  }

  block(batch: PendingBatch, index: number, keys: readonly string[], on: string): void {
    this.#blocks.push({ blocker: on, batchSeq: batch.seq });
    for (const key of keys) {
      const wait = { key, operation: operationId(batch.id, index), batchSeq: batch.seq };
      this.#newWaits.push(wait);
      this.#remember(wait);
    }
  }

  /** The operation's place in the order is now told by the rows that it marked. */
  stopWaiting(operation: string): void {
    const keys = this.#keysOfWaiting.get(operation);
    if (keys === undefined) return;
    for (const key of keys) {
      const rest = (this.#waits.get(key) ?? []).filter((wait) => wait.operation !== operation);
      this.#waits.set(key, rest);
    }
    this.#keysOfWaiting.delete(operation);
    this.#unblocked.push(operation);
  }

  /** The batch holds nothing any more. */
  release(batch: PendingBatch): void {
    this.#unblocked.push(batch.id);
  }

  /** How the step ends its operation, by the rows as they are now: a later operation may change or remove them. */
  outcomeOf(step: Ended): OperationOutcome {
    return outcomeOf(this.model, step);
  }

  end(batch: PendingBatch, index: number, step: Ended): void {
    this.endAs(batch, index, this.outcomeOf(step));
  }

  endAs(batch: PendingBatch, index: number, outcome: OperationOutcome): void {
    this.#outcomes.push({ batch, index, outcome });
    const ended = this.#ended.get(batch.id) ?? new Set<number>();
    this.#ended.set(batch.id, ended.add(index));
    const operation = operationId(batch.id, index);
    this.stopWaiting(operation);
    this.#unblocked.push(operation);
  }

  isEnded(batch: PendingBatch, index: number): boolean {
    return batch.done.has(index) || this.#ended.get(batch.id)?.has(index) === true;
  }

  /** Where the batch stands after this commit; ended as soon as every operation has. */
  stand(
    batch: PendingBatch,
    stand: { leased?: boolean; ready?: boolean; decision?: Decision; failure?: BatchFailure; parked?: string },
  ): void {
    const all = batch.operations.every((_, index) => this.isEnded(batch, index));
    if (all) this.#unblocked.push(batch.id);
    const { now, effectLeaseMs } = this.model.context;
    this.#batches.set(batch.id, {
      batch,
      state: all ? 'ended' : 'running',
      decision: stand.decision ?? batch.decision,
      failure: stand.failure ?? batch.failure,
      ready: !all && stand.ready === true,
      leaseUntil: !all && stand.leased === true ? now + effectLeaseMs : 0,
      parked: all ? null : (stand.parked ?? null),
    });
    if (all) this.model.tell('batch', batch.id, null, 'ended');
  }

  plan(): GroupPlan {
    const { model } = this;
    return {
      volumes: model.volumes.changes(),
      attachments: model.attachments.changes(),
      flowPolicies: model.flowPolicies.changes(),
      poolDeltas: model.poolDeltas(),
      luns: model.lunChanges,
      outcomes: this.#outcomes,
      batches: this.#batchChanges(),
      blocks: this.#blocks,
      waits: this.#newWaits,
      unblocked: this.#unblocked,
      woken: model.woken,
      effects: model.effects,
      events: model.events,
    };
  }

  /** A batch's lease ends with the first of its rows': an effect that was refused is due before the others. */
  #batchChanges(): BatchChange[] {
    const { now } = this.model.context;
    const soonest = new Map<string, number>();
    for (const { pendingOperation, leaseUntil } of [...this.model.volumes.all(), ...this.model.attachments.all()]) {
      if (pendingOperation === null || leaseUntil <= now) continue;
      const { batch } = batchOf(pendingOperation);
      soonest.set(batch, Math.min(leaseUntil, soonest.get(batch) ?? leaseUntil));
    }
    return [...this.#batches.values()].map((change) => {
      const { batch, leaseUntil } = change;
      if (leaseUntil === 0) return change;
      const known = batch.leaseUntil > now ? batch.leaseUntil : leaseUntil;
      return { ...change, leaseUntil: Math.min(leaseUntil, known, soonest.get(batch.id) ?? leaseUntil) };
    });
  }

  #remember(wait: Wait): void {
    // Without a key it is not a place in an order, but somebody who waits for the operation.
    if (wait.key === '') return;
    const keys = this.#keysOfWaiting.get(wait.operation) ?? new Set<string>();
    this.#keysOfWaiting.set(wait.operation, keys.add(wait.key));
    const waits = this.#waits.get(wait.key) ?? [];
    waits.push(wait);
    this.#waits.set(wait.key, waits);
  }
}

function isBefore(wait: Wait, batch: PendingBatch, index: number): boolean {
  if (wait.batchSeq !== batch.seq) return wait.batchSeq < batch.seq;
  const dash = wait.operation.lastIndexOf('-');
  return Number(wait.operation.slice(dash + 1)) < index;
}

function outcomeOf(model: Model, step: Ended): OperationOutcome {
  if (step.kind === 'failed') return { state: 'failed', problem: step.problem };
  return {
    state: 'succeeded',
    resource: step.resource === null ? null : resourceOf(model, step.resource),
    existing: step.existing,
  };
}

/** The resource as it is in this commit: what a replay of the request is answered with later. */
function resourceOf(model: Model, { kind, id }: ResourceName): OperationResource {
  if (kind === 'volume') {
    const row = model.volumes.get(id);
    assert(row !== null, 'outcome-volume');
    return { kind, ...volumeView(row, model.attachmentsOfVolume(id)) };
  }
  if (kind === 'attachment') {
    const row = model.attachments.get(id);
    const volume = row === null ? null : model.volumes.get(row.volumeId);
    assert(row !== null && volume !== null, 'outcome-attachment');
    return { kind, ...attachmentView(row, volume) };
  }
  const row = model.flowPolicies.get(id);
  assert(row !== null, 'outcome-flow-policy');
  return { kind, ...flowPolicyView(row) };
}
