import type { Logger } from 'pino';
import { limits } from '../config/limits.ts';
import type { Batch } from '../domain/operation.ts';
import type { StorageNode } from '../storage-node/storage-node.ts';
import { endedBatch } from '../store/ended-batch.ts';
import type {
  AdvanceOptions,
  Effect,
  EffectOutcome,
  GroupAnswer,
  JournalStore,
  LeaseTerm,
  Mistake,
  MistakeOutcome,
} from '../store/store.ts';
import { GroupCommit } from '../system/group-commit.ts';
import { carryOut } from './effects.ts';

export interface WorkerOptions {
  readonly store: JournalStore;
  readonly nodes: ReadonlyMap<string, StorageNode>;
  readonly log: Logger;
  /** False while nothing may be begun: what is in the journal waits. */
  readonly mayAct: () => boolean;
  /** Under which it acts now; where another has taken it, nothing more is planned or settled. */
  readonly lease?: () => LeaseTerm | null;
  /** Whether the store is still the one whose effects the storage node has carried out, and has not fallen behind them. */
  readonly isOurs: (storageNode: string) => Promise<boolean>;
  readonly groupBatchesMax?: number;
  readonly onEnded: (batches: readonly Batch[]) => void;
  readonly onPoolsBelowMinimum: (pools: readonly string[]) => void;
  readonly observe: WorkerObserver;
}

export interface WorkerObserver {
  phase(phase: 'plan' | 'effects' | 'settle', milliseconds: number): void;
  group(batches: number, operations: number): void;
  mistake(outcome: MistakeOutcome): void;
}

const mistakeWords: Readonly<Record<MistakeOutcome, string>> = {
  failed: 'a bug keeps a batch from being carried on; it has been ended, with nothing more of it done',
  undoing: 'a bug keeps a batch from being carried on; what it has done is taken back',
  parked: 'a bug keeps a batch from being carried on; it stays as it is, and is tried again',
  journalled: 'a bug keeps operations from being planned as they arrive; they were accepted alone',
};

/** The most effects under way; more waiting operations are not planned before some have come back. */
const effectsInFlightMax = 8_000;

/**
 * Carries the journal on: plans groups until nothing waits, has their effects carried out, and commits the outcomes.
 * Planning goes on while effects are under way. Everything it knows can be lost at any moment: the rows tell the rest.
 */
export class OperationWorker {
  readonly #options: WorkerOptions;
  readonly #settle: GroupCommit<EffectOutcome>;
  readonly #underWay = new Set<Promise<void>>();
  #running: Promise<void> | null = null;
  #again = false;
  #inFlight = 0;
  #closed = false;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#settle = new GroupCommit((outcomes) => this.#settleGroup(outcomes));
  }

  /** Looks into the journal; calls while it looks lead to one more look. Never throws: what failed is tried again. */
  run(): Promise<void> {
    if (!this.#mayGoOn()) return Promise.resolve();
    this.#again = true;
    this.#running ??= this.#loop();
    return this.#running;
  }

  /** How groups are planned by this worker; for an intake that plans in its own commit. */
  get advanceOptions(): AdvanceOptions {
    return {
      lease: this.#options.lease?.() ?? null,
      maxBatches: this.#options.groupBatchesMax ?? limits.groupBatches,
      maxOperations: limits.groupOperations,
      effectLeaseMs: limits.effectLeaseMs,
    };
  }

  /** Goes on with what another commit has planned for this worker. */
  take(answer: GroupAnswer): void {
    if (answer.batches > 0) this.#options.observe.group(answer.batches, answer.operations);
    this.#deliver(answer);
    if (answer.more) void this.run();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
    // What is settled can lead to further effects.
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  #mayGoOn(): boolean {
    return !this.#closed && this.#options.mayAct();
  }

  async #loop(): Promise<void> {
    try {
      // The first look is taken whatever is true by now: what ends before it was awaited would be `running` for good.
      do {
        this.#again = false;
        await this.#advanceGroup();
      } while (this.#again && this.#mayGoOn());
    } catch (error) {
      this.#options.log.error({ err: error }, 'operations could not be carried on; they are tried again');
    } finally {
      // In the same breath as the last look at `again`: a call in between would be forgotten.
      this.#running = null;
    }
  }

  async #advanceGroup(): Promise<void> {
    while (this.#inFlight > effectsInFlightMax) await Promise.race(this.#underWay);
    const began = performance.now();
    const answer = await this.#options.store.groupAdvance(this.advanceOptions);
    if (answer.batches === 0) return;
    this.#options.observe.phase('plan', performance.now() - began);
    this.#options.observe.group(answer.batches, answer.operations);
    this.#deliver(answer);
  }

  #deliver(answer: GroupAnswer): void {
    if (answer.more) this.#again = true;
    for (const mistake of answer.mistakes) this.#tell(mistake);
    if (answer.ended.length > 0) this.#options.onEnded(answer.ended.map(endedBatch));
    if (answer.poolsBelowMinimum.length > 0) this.#options.onPoolsBelowMinimum(answer.poolsBelowMinimum);
    if (answer.effects.length === 0) return;
    const task = this.#carryOut(answer.effects).finally(() => this.#underWay.delete(task));
    this.#underWay.add(task);
  }

  #tell({ batch, outcome, message, stack }: Mistake): void {
    this.#options.observe.mistake(outcome);
    this.#options.log.error({ batch, err: { message, stack } }, mistakeWords[outcome]);
  }

  async #carryOut(effects: readonly Effect[]): Promise<void> {
    this.#inFlight += effects.length;
    try {
      const began = performance.now();
      const outcomes = await carryOut(effects, this.#options.nodes, (unknown, error) => {
        this.#options.log.warn(
          { err: error, effects: unknown.length },
          'effects with an unknown outcome; they will be issued again',
        );
      });
      this.#options.observe.phase('effects', performance.now() - began);
      for (const outcome of outcomes) this.#tellFailed(outcome);
      if (outcomes.length > 0 && (await this.#mayBelieve(outcomes))) await this.#settle.add(outcomes);
    } catch (error) {
      this.#options.log.error(
        { err: error },
        'outcomes of effects could not be committed; the effects will be issued again',
      );
    } finally {
      this.#inFlight -= effects.length;
    }
  }

  /** Clients are told which storage node it was; its own words are here alone. */
  #tellFailed({ effect: { kind, operation, storageNode, request }, result }: EffectOutcome): void {
    if (result.ok || result.problem.code === 'stale-generation') return;
    const what = { operation, effect: kind, storageNode, volume: request.volumeId, problem: result.problem };
    this.#options.log.warn(what, 'an effect could not be carried out');
  }

  /** An effect that came too late was overtaken by a later round; or this store is behind, and issues numbers again. */
  async #mayBelieve(outcomes: readonly EffectOutcome[]): Promise<boolean> {
    const late = outcomes.filter(({ result }) => !result.ok && result.problem.code === 'stale-generation');
    const nodes = [...new Set(late.map(({ effect }) => effect.storageNode))];
    return (await Promise.all(nodes.map((node) => this.#options.isOurs(node)))).every(Boolean);
  }

  async #settleGroup(outcomes: readonly EffectOutcome[]): Promise<void> {
    const began = performance.now();
    const answer = await this.#options.store.groupSettle(outcomes, this.advanceOptions);
    this.#options.observe.phase('settle', performance.now() - began);
    this.#deliver(answer);
    if (answer.more) void this.run();
  }
}
