import { assert } from '../../domain/errors.ts';
import { type Batch, batchOf, type Operation, type OperationSpec } from '../../domain/operation.ts';
import type { EndedBatch } from '../ended-batch.ts';
import type { BatchFailure, GroupPlan, GroupPlanner, PendingBatch, Picture, PlanContext } from '../group.ts';
import { emptyPicture } from '../group.ts';
import type {
  AcceptAnswer,
  AdvanceOptions,
  Backlog,
  EffectOutcome,
  GroupAnswer,
  JournalStore,
  Mistake,
  NewBatch,
  OperationFilter,
  Page,
  PageRequest,
} from '../store.ts';
import { seqColumns } from './batch-rows.ts';
import { type Change, type Database, together } from './database.ts';
import { GroupLoader } from './group-load.ts';
import { asMistakes, blaming, GroupMistake, groupOrEach } from './group-mistake.ts';
import { operationRecords, positionsPerBatch, type WrittenAlong, writePlan } from './group-write.ts';
import { JournalAppender } from './journal-append.ts';
import { JournalReader, operationText } from './journal-read.ts';
import { isHeld } from './lease.ts';
import type { BatchTable, OperationTable } from './schema.ts';
import { sql } from './sql.ts';

/** The journal and the groups that are committed from it. Planning itself is the planner's; here it is made durable. */
export class KyselyJournalStore implements JournalStore {
  readonly #database: Database;
  readonly #intake: JournalAppender;
  readonly #read: JournalReader;
  readonly #planner: GroupPlanner;
  readonly #options: JournalOptions;

  constructor(database: Database, planner: GroupPlanner, options: JournalOptions) {
    this.#database = database;
    this.#intake = new JournalAppender(database.engine, options.backlogOperationsMax);
    this.#read = new JournalReader(database);
    this.#planner = asMistakes(planner);
    this.#options = options;
  }

  async batchAccept(batches: readonly NewBatch[]): Promise<readonly AcceptAnswer[]> {
    const { answers } = await this.#accepting(batches, (done) =>
      this.#database.plain(async (db) => done({ answers: await this.#intake.accept(db, batches) })),
    );
    return answers;
  }

  async batchAcceptAdvance(
    batches: readonly NewBatch[],
    options: AdvanceOptions,
  ): Promise<{ readonly answers: readonly AcceptAnswer[]; readonly group: GroupAnswer }> {
    assert(options.lease === null, 'journal-advance-alone');
    try {
      return await this.#accepting(batches, (done) =>
        this.#database.change(async (tx) => {
          const acceptance = await this.#intake.decide(tx.db, batches, tx.now);
          await this.#intake.rememberKeys(tx.db, acceptance);
          return done({
            answers: acceptance.answers,
            group: await this.#advance(tx, options, { fresh: acceptance.records }),
          });
        }),
      );
    } catch (error) {
      // What the world can do to us is told; a mistake in planning must not refuse what only has to be kept.
      if (!(error instanceof GroupMistake)) throw error;
      const mistakes = [error.told(null, 'journalled')];
      return { answers: await this.batchAccept(batches), group: { ...nothing, more: true, mistakes } };
    }
  }

  async groupAdvance(options: AdvanceOptions): Promise<GroupAnswer> {
    // Looking first keeps an idle worker from writing a commit number each time.
    const waiting = await this.#database.read((db) => sql`SELECT 1 FROM batches WHERE ready = 1 LIMIT 1`.execute(db));
    if (waiting.rows.length === 0) return nothing;
    return groupOrEach(
      (only) => this.#database.change((tx) => this.#advance(tx, options, { only })),
      (batch, mistake) => this.#giveUp(batch, mistake, { options, readyOnly: true }),
    );
  }

  async groupSettle(outcomes: readonly EffectOutcome[], options: AdvanceOptions): Promise<GroupAnswer> {
    if (outcomes.length === 0) return nothing;
    return groupOrEach(
      (only) => this.#database.change((tx) => this.#settle(tx, outcomesOf(outcomes, only), options)),
      (batch, mistake) => this.#giveUp(batch, mistake, { options, readyOnly: false }),
    );
  }

  async effectsRecover({ all }: { readonly all: boolean }): Promise<number> {
    const { now } = this.#database.engine;
    const due = all ? sql`lease_until > 0` : sql`lease_until > 0 AND lease_until < ${now}`;
    const found = await this.#database.read((db) =>
      sql`SELECT 1 FROM batches WHERE state <> 'ended' AND ${due} LIMIT 1`.execute(db),
    );
    if (found.rows.length === 0) return 0;
    return this.#database.plain(async (db) => {
      const { rows } =
        await sql`UPDATE batches SET ready = 1, lease_until = 0 WHERE state <> 'ended' AND ${due} RETURNING seq`.execute(
          db,
        );
      if (all) {
        await sql`UPDATE volumes SET lease_until = 0 WHERE pending_operation IS NOT NULL AND lease_until > 0`.execute(
          db,
        );
        await sql`UPDATE attachments SET lease_until = 0 WHERE pending_operation IS NOT NULL AND lease_until > 0`.execute(
          db,
        );
      }
      return rows.length;
    });
  }

  batchGet(id: string): Promise<Batch | null> {
    return this.#read.batchGet(id);
  }

  batchListEnded(ids: readonly string[]): Promise<readonly Batch[]> {
    return this.#read.batchListEnded(ids);
  }

  operationGet(id: string): Promise<Operation | null> {
    return this.#read.operationGet(id);
  }

  operationList(filter: OperationFilter, page: PageRequest): Promise<Page<Operation>> {
    return this.#read.operationList(filter, page);
  }

  backlog(): Promise<Backlog> {
    return this.#read.backlog();
  }

  /** Accepts; where the answer of the commit is lost, finds out by the batches' ids whether it happened. */
  async #accepting<T extends { readonly answers: readonly AcceptAnswer[] }>(
    batches: readonly NewBatch[],
    commit: (done: (answer: T) => T) => Promise<T>,
  ): Promise<T> {
    let answer: T | null = null;
    try {
      return await commit((done) => {
        answer = done;
        return done;
      });
    } catch (error) {
      if (answer !== null && (await this.#isCommitted(batches, answer))) return answer;
      throw error;
    }
  }

  /** One commit holds all of the batches, or none. */
  async #isCommitted(
    batches: readonly NewBatch[],
    { answers }: { readonly answers: readonly AcceptAnswer[] },
  ): Promise<boolean> {
    const added = batches.find(({ id }, index) => {
      const answer = answers[index];
      return answer?.accepted === true && !answer.replay && answer.batch === id;
    });
    if (added === undefined) return false;
    try {
      return (await this.#read.batchGet(added.id)) !== null;
    } catch {
      // As unknown as before.
      return false;
    }
  }

  async #advance(tx: Change, options: AdvanceOptions, { only = null, fresh = [] }: Looked = {}): Promise<GroupAnswer> {
    const which = only === null ? sql`` : sql`AND id = ${only}`;
    const { rows } = await sql<BatchTable>`
      SELECT * FROM batches WHERE ready = 1 ${which} AND ${isHeld(options.lease)}
      ORDER BY seq ${sql.limit(options.maxBatches + 1)}`.execute(tx.db);
    const waiting = [...rows, ...fresh];
    const records = upTo(waiting, options);
    if (records.length === 0) return nothing;
    const answer = await blaming(idsOf(records), () => this.#plan(tx, records, { fresh, options }));
    return { ...answer, more: answer.more || records.length < waiting.length };
  }

  async #plan(
    tx: Change,
    records: readonly BatchTable[],
    { fresh, options }: { readonly fresh: readonly BatchTable[]; readonly options: AdvanceOptions },
  ): Promise<GroupAnswer> {
    const { batches, earlier } = await this.#pending(tx, records);
    const loader = new GroupLoader(tx.db, tx.engine);
    const named = await loader.picture(this.#planner.references(batches));
    const picture = await loader.complete(named, this.#planner.needs(batches, named));
    const plan = this.#planner.advance(batches, picture, this.#context(tx, options));
    const ended = await this.#write(tx, plan, { earlier, fresh, hasWaits: picture.waits.length > 0 });
    const below = picture.pools.filter((pool) => pool.free + freeDelta(plan, pool.name) < pool.minFree);
    return {
      ...ended,
      batches: batches.length,
      more: wakesOthers(plan, picture),
      poolsBelowMinimum: below.map(({ name }) => name),
    };
  }

  async #settle(tx: Change, outcomes: readonly EffectOutcome[], options: AdvanceOptions): Promise<GroupAnswer> {
    const ids = [...new Set(outcomes.map(({ effect }) => batchOf(effect.operation).batch))];
    const { rows } = await sql<BatchTable>`
      SELECT * FROM batches WHERE id IN ${tx.engine.texts(ids)} AND state <> 'ended' AND ${isHeld(options.lease)} ORDER BY seq`.execute(
      tx.db,
    );
    return blaming(idsOf(rows), () => this.#planSettled(tx, rows, outcomes, options));
  }

  async #planSettled(
    tx: Change,
    rows: readonly BatchTable[],
    outcomes: readonly EffectOutcome[],
    options: AdvanceOptions,
  ): Promise<GroupAnswer> {
    const { batches, earlier } = await this.#pending(tx, rows);
    const loader = new GroupLoader(tx.db, tx.engine);
    const named = loader.volumesById([...new Set(outcomes.map(({ effect }) => effect.request.volumeId))]);
    const attached = named.then((rows) => loader.attachmentsOf(rows));
    const [volumes, attachments, waits] = await together(named, attached, loader.waits());
    const picture = { ...emptyPicture, volumes, attachments, waits };
    const plan = this.#planner.settle(outcomes, batches, picture, this.#context(tx, options));
    const ended = await this.#write(tx, plan, { earlier, fresh: [], hasWaits: waits.length > 0 });
    const woken = plan.batches.some(({ ready }) => ready) || wakesOthers(plan, picture);
    return { ...ended, batches: batches.length, more: woken, poolsBelowMinimum: [] };
  }

  /**
   * Ends what a bug keeps from being carried on, as far as that is safe, and parks the rest until its lease ends.
   * `readyOnly`: another process may have carried it on meanwhile.
   */
  async #giveUp(
    id: string,
    mistake: GroupMistake,
    { options, readyOnly }: { readonly options: AdvanceOptions; readonly readyOnly: boolean },
  ): Promise<GroupAnswer> {
    const still = readyOnly ? sql`ready = 1` : sql`state <> 'ended'`;
    try {
      return await this.#database.change(async (tx) => {
        const { rows } =
          await sql<BatchTable>`SELECT * FROM batches WHERE id = ${id} AND ${still} AND ${isHeld(options.lease)}`.execute(
            tx.db,
          );
        return rows.length === 0 ? nothing : await blaming([id], () => this.#endMistaken(tx, rows, mistake, options));
      });
    } catch (error) {
      if (!(error instanceof GroupMistake)) throw error;
      return this.#park(id, error, options);
    }
  }

  async #endMistaken(
    tx: Change,
    rows: readonly BatchTable[],
    mistake: GroupMistake,
    options: AdvanceOptions,
  ): Promise<GroupAnswer> {
    const { batches, earlier } = await this.#pending(tx, rows);
    const [batch] = batches;
    assert(batch !== undefined, 'journal-mistaken-batch');
    const marks = await new GroupLoader(tx.db, tx.engine).marksOf(batch);
    const plan = this.#planner.giveUp(batch, { marks, reason: mistake.message }, this.#context(tx, options));
    const ended = await this.#write(tx, plan, { earlier, fresh: [], hasWaits: true });
    const mistakes = [mistake.told(batch.id, outcomeOf(plan))];
    return { ...ended, batches: 1, more: true, poolsBelowMinimum: [], mistakes };
  }

  /** Without a look at what the batch is: it is not even readable. */
  async #park(id: string, mistake: GroupMistake, { effectLeaseMs, lease }: AdvanceOptions): Promise<GroupAnswer> {
    const { numAffectedRows } = await this.#database.change((tx) =>
      sql`UPDATE batches SET ready = 0, lease_until = ${tx.now + effectLeaseMs}, parked = ${mistake.message}
        WHERE id = ${id} AND state <> 'ended' AND ${isHeld(lease)}`.execute(tx.db),
    );
    if (numAffectedRows === 0n) return nothing;
    return { ...nothing, batches: 1, more: true, mistakes: [mistake.told(id, 'parked')] };
  }

  async #write(
    tx: Change,
    plan: GroupPlan,
    { earlier, ...along }: Omit<WrittenAlong, 'operations'> & { readonly earlier: EarlierOperations },
  ): Promise<Pick<GroupAnswer, 'ended' | 'effects' | 'operations' | 'mistakes'>> {
    const operations = operationRecords(plan, tx.now);
    await writePlan(tx, plan, { operations, ...along });
    const ended = endedBatches(plan, { earlier, operations, at: tx.now });
    return { ended, effects: plan.effects, operations: operations.length, mistakes: [] };
  }

  #context(tx: Change, options: AdvanceOptions): PlanContext {
    return {
      commit: tx.commit,
      now: tx.now,
      effectLeaseMs: options.effectLeaseMs,
      defaultFlowAction: this.#options.defaultFlowAction,
    };
  }

  /** The records as the planner wants them, and the operations of them that ended in earlier commits. */
  async #pending(
    tx: Change,
    records: readonly BatchTable[],
  ): Promise<{ batches: PendingBatch[]; earlier: EarlierOperations }> {
    // A batch of one operation ends with it.
    const some = records.filter(({ state, operation_count: count }) => state === 'running' && count > 1);
    const begun = some.map(({ seq }) => ({ seq }));
    if (begun.length === 0) return { batches: records.map((record) => pendingBatch(record, [])), earlier: new Map() };
    const { rows } = await sql<OperationTable>`
      SELECT o.* FROM ${tx.engine.rows(begun, seqColumns)} b JOIN operations o
        ON o.position >= b.seq * ${sql.lit(positionsPerBatch)} AND o.position < (b.seq + 1) * ${sql.lit(positionsPerBatch)}`.execute(
      tx.db,
    );
    const earlier = Map.groupBy(rows, ({ batch }) => batch);
    return { batches: records.map((record) => pendingBatch(record, earlier.get(record.id) ?? [])), earlier };
  }
}

interface Looked {
  /** One batch, and no other. */
  readonly only?: string | null;
  /** Batches that are not in the journal yet: they come last, and into it with what they are by then. */
  readonly fresh?: readonly BatchTable[];
}

export interface JournalOptions {
  readonly backlogOperationsMax: number;
  readonly defaultFlowAction: PlanContext['defaultFlowAction'];
}

export const nothing: GroupAnswer = {
  ended: [],
  effects: [],
  batches: 0,
  operations: 0,
  more: false,
  poolsBelowMinimum: [],
  mistakes: [],
};

/** As many of the oldest batches as the limits allow, at least one. */
function upTo(rows: readonly BatchTable[], { maxBatches, maxOperations }: AdvanceOptions): BatchTable[] {
  const taken: BatchTable[] = [];
  let operations = 0;
  for (const row of rows.slice(0, maxBatches)) {
    operations += row.operation_count;
    if (taken.length > 0 && operations > maxOperations) break;
    taken.push(row);
  }
  return taken;
}

function pendingBatch(record: BatchTable, ended: readonly OperationTable[]): PendingBatch {
  return {
    seq: record.seq,
    id: record.id,
    state: record.state as PendingBatch['state'],
    atomicity: record.atomicity as PendingBatch['atomicity'],
    decision: record.decision as PendingBatch['decision'],
    failure: record.failure === null ? null : (JSON.parse(record.failure) as BatchFailure),
    ready: record.ready === 1,
    leaseUntil: record.lease_until,
    operations: JSON.parse(record.operations) as OperationSpec[],
    done: new Set(ended.map(({ position }) => position % positionsPerBatch)),
    principal: record.principal,
    acceptedAt: record.accepted_at,
  };
}

function idsOf(records: readonly BatchTable[]): string[] {
  return records.map(({ id }) => id);
}

function outcomesOf(outcomes: readonly EffectOutcome[], only: string | null): readonly EffectOutcome[] {
  return only === null ? outcomes : outcomes.filter(({ effect }) => batchOf(effect.operation).batch === only);
}

function outcomeOf({ batches: [change] }: GroupPlan): Mistake['outcome'] {
  if (change?.state === 'ended') return 'failed';
  return change?.parked == null ? 'undoing' : 'parked';
}

function wakesOthers(plan: GroupPlan, picture: Picture): boolean {
  return plan.woken.length > 0 || (picture.waits.length > 0 && plan.unblocked.length > 0);
}

function freeDelta(plan: GroupPlan, pool: string): number {
  return plan.poolDeltas.find((delta) => delta.pool === pool)?.counts.free ?? 0;
}

/** By batch, the operations of it that ended in earlier commits. */
type EarlierOperations = ReadonlyMap<string, readonly OperationTable[]>;

function endedBatches(
  plan: GroupPlan,
  { earlier, operations, at }: { earlier: EarlierOperations; operations: readonly OperationTable[]; at: number },
): readonly EndedBatch[] {
  const now = Map.groupBy(operations, ({ batch }) => batch);
  return plan.batches.flatMap(({ batch, state, decision }) => {
    if (state !== 'ended') return [];
    const { id, atomicity, principal, acceptedAt } = batch;
    const rows = [...(earlier.get(id) ?? []), ...(now.get(id) ?? [])].sort((a, b) => a.position - b.position);
    const text = `[${rows.map(operationText).join()}]`;
    return [{ id, state, atomicity, decision, operations: text, requestedBy: principal, acceptedAt, endedAt: at }];
  });
}
