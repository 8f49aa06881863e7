import { type Kysely, sql } from 'kysely';
import { Failure, problem } from '../../domain/errors.ts';
import { type Batch, batchOf, type Operation, type OperationSpec, operationId } from '../../domain/operation.ts';
import type {
  BatchFailure,
  EndedOperation,
  GroupPlan,
  GroupPlanner,
  PendingBatch,
  Picture,
  PlanContext,
} from '../group.ts';
import type {
  AcceptAnswer,
  AdvanceOptions,
  Backlog,
  EffectOutcome,
  GroupAnswer,
  JournalStore,
  NewBatch,
  OperationFilter,
  Page,
  PageRequest,
} from '../store.ts';
import type { Change, Database } from './database.ts';
import { GroupLoader } from './group-load.ts';
import { positionsPerBatch, writePlan } from './group-write.ts';
import { JournalReader, operationOf } from './journal-read.ts';
import type { BatchTable, OperationTable, Schema } from './schema.ts';

/** The journal and the groups that are committed from it. Planning itself is the planner's; here it is made durable. */
export class KyselyJournalStore implements JournalStore {
  readonly #database: Database;
  readonly #read: JournalReader;
  readonly #planner: GroupPlanner;
  readonly #options: JournalOptions;

  constructor(database: Database, planner: GroupPlanner, options: JournalOptions) {
    this.#database = database;
    this.#read = new JournalReader(database);
    this.#planner = planner;
    this.#options = options;
  }

  async batchAccept(batches: readonly NewBatch[]): Promise<readonly AcceptAnswer[]> {
    return this.#database.plain((db) => this.#accept(db, batches));
  }

  async batchAcceptAdvance(
    batches: readonly NewBatch[],
    options: AdvanceOptions,
  ): Promise<{ readonly answers: readonly AcceptAnswer[]; readonly group: GroupAnswer }> {
    try {
      return await this.#database.change(async (tx) => {
        const answers = await this.#accept(tx.db, batches);
        return { answers, group: await this.#advance(tx, options) };
      });
    } catch (error) {
      // What the world can do to us is told; a mistake in planning must not refuse what only has to be kept.
      if (error instanceof Failure) throw error;
      return { answers: await this.batchAccept(batches), group: { ...nothing, more: true } };
    }
  }

  async groupAdvance(options: AdvanceOptions): Promise<GroupAnswer> {
    // Looking first keeps an idle worker from writing a commit number each time.
    const waiting = await sql`SELECT 1 FROM batches WHERE ready = 1 LIMIT 1`.execute(this.#database.kysely);
    if (waiting.rows.length === 0) return nothing;
    return this.#database.change((tx) => this.#advance(tx, options));
  }

  async groupSettle(outcomes: readonly EffectOutcome[], options: AdvanceOptions): Promise<GroupAnswer> {
    if (outcomes.length === 0) return nothing;
    return this.#database.change((tx) => this.#settle(tx, outcomes, options));
  }

  async effectsRecover({ all }: { readonly all: boolean }): Promise<number> {
    const { now } = this.#database.engine;
    const due = all ? sql`lease_until > 0` : sql`lease_until > 0 AND lease_until < ${now}`;
    const found = await sql`SELECT 1 FROM batches WHERE state <> 'ended' AND ${due} LIMIT 1`.execute(
      this.#database.kysely,
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

  async #advance(tx: Change, options: AdvanceOptions): Promise<GroupAnswer> {
    const { rows } =
      await sql<BatchTable>`SELECT * FROM batches WHERE ready = 1 ORDER BY seq LIMIT ${options.maxBatches + 1}`.execute(
        tx.db,
      );
    const records = upTo(rows, options);
    if (records.length === 0) return nothing;
    const { batches, earlier } = await this.#pending(tx, records);
    const loader = new GroupLoader(tx.db, tx.engine);
    const named = await loader.picture(this.#planner.references(batches));
    const picture = await loader.complete(named, this.#planner.needs(batches, named));
    const plan = this.#planner.advance(batches, picture, this.#context(tx, options));
    await writePlan(tx, plan, picture.waits.length > 0);
    const below = picture.pools.filter((pool) => pool.free + freeDelta(plan, pool.name) < pool.minFree);
    return {
      ...answerOf(tx, plan, earlier),
      batches: batches.length,
      more: records.length < rows.length || wakesOthers(plan, picture),
      poolsBelowMinimum: below.map(({ name }) => name),
    };
  }

  async #settle(tx: Change, outcomes: readonly EffectOutcome[], options: AdvanceOptions): Promise<GroupAnswer> {
    const ids = [...new Set(outcomes.map(({ effect }) => batchOf(effect.operation).batch))];
    const { rows } = await sql<BatchTable>`
      SELECT * FROM batches WHERE id IN ${tx.engine.texts(ids)} AND state <> 'ended' ORDER BY seq`.execute(tx.db);
    const { batches, earlier } = await this.#pending(tx, rows);
    const loader = new GroupLoader(tx.db, tx.engine);
    const volumes = await loader.volumesById([...new Set(outcomes.map(({ effect }) => effect.request.volumeId))]);
    const waits = await loader.waits();
    const picture = { ...emptyPicture, volumes, attachments: await loader.attachmentsOf(volumes), waits };
    const plan = this.#planner.settle(outcomes, batches, picture, this.#context(tx, options));
    await writePlan(tx, plan, waits.length > 0);
    const woken = plan.batches.some(({ ready }) => ready) || wakesOthers(plan, picture);
    return { ...answerOf(tx, plan, earlier), batches: batches.length, more: woken, poolsBelowMinimum: [] };
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
  ): Promise<{ batches: PendingBatch[]; earlier: Map<string, OperationTable[]> }> {
    const begun = records.filter(({ state }) => state === 'running').map(({ seq }) => ({ seq }));
    const earlier = new Map<string, OperationTable[]>();
    if (begun.length > 0) {
      const { rows } = await sql<OperationTable>`
        SELECT o.* FROM ${tx.engine.rows(begun, { seq: 'bigint' })} b JOIN operations o
          ON o.position >= b.seq * ${sql.lit(positionsPerBatch)} AND o.position < (b.seq + 1) * ${sql.lit(positionsPerBatch)}`.execute(
        tx.db,
      );
      for (const row of rows) earlier.set(row.batch, [...(earlier.get(row.batch) ?? []), row]);
    }
    return { batches: records.map((record) => pendingBatch(record, earlier.get(record.id) ?? [])), earlier };
  }

  async #accept(db: Kysely<Schema>, batches: readonly NewBatch[]): Promise<readonly AcceptAnswer[]> {
    const seq = await this.#nextSequence(db, batches.length);
    const backlog = await this.#backlogOperations(db);
    const known = await this.#knownKeys(db, batches);
    const decided = decideAcceptance(batches, known, this.#options.backlogOperationsMax - backlog);
    await this.#append(db, decided.accepted, seq);
    return decided.answers;
  }

  async #nextSequence(db: Kysely<Schema>, count: number): Promise<number> {
    const { rows } = await sql<{ value: number }>`
      UPDATE sequences SET value = value + ${count} WHERE name = 'journal' RETURNING value`.execute(db);
    return Number(rows[0]?.value) - count + 1;
  }

  async #backlogOperations(db: Kysely<Schema>): Promise<number> {
    const { rows } = await sql<{ operations: number | null }>`
      SELECT sum(operation_count) AS operations FROM batches WHERE state <> 'ended'`.execute(db);
    return rows[0]?.operations ?? 0;
  }

  async #knownKeys(db: Kysely<Schema>, batches: readonly NewBatch[]): Promise<Map<string, KnownKey>> {
    const keys = batches.flatMap(({ principal, idempotency }) =>
      idempotency === null ? [] : [{ principal: principal.id, route: idempotency.route, key: idempotency.key }],
    );
    if (keys.length === 0) return new Map();
    const list = this.#database.engine.rows(keys, { principal: 'text', route: 'text', key: 'text' });
    const { rows } = await sql<Schema['idempotency']>`
      SELECT i.* FROM ${list} k JOIN idempotency i
        ON i.principal = k.principal AND i.route = k.route AND i.key = k.key`.execute(db);
    return new Map(
      rows.map((row) => [keyText(row.principal, row.route, row.key), { bodyHash: row.body_hash, batch: row.batch }]),
    );
  }

  async #append(db: Kysely<Schema>, batches: readonly NewBatch[], firstSeq: number): Promise<void> {
    if (batches.length === 0) return;
    const { engine } = this.#database;
    const rows = batches.map((batch, index) => ({
      seq: firstSeq + index,
      id: batch.id,
      atomicity: batch.atomicity,
      operations: JSON.stringify(batch.operations),
      operation_count: batch.operations.length,
      principal: batch.principal.id,
    }));
    const list = engine.rows(rows, {
      seq: 'bigint',
      id: 'text',
      atomicity: 'text',
      operations: 'text',
      operation_count: 'bigint',
      principal: 'text',
    });
    await sql`
      INSERT INTO batches (seq, id, state, atomicity, operations, operation_count, principal, ready, lease_until, accepted_at)
      SELECT seq, id, 'accepted', atomicity, operations, operation_count, principal, 1, 0, ${engine.now} FROM ${list} c`.execute(
      db,
    );
    const keys = batches.flatMap(({ id, principal, idempotency }) =>
      idempotency === null
        ? []
        : [
            {
              principal: principal.id,
              route: idempotency.route,
              key: idempotency.key,
              body_hash: idempotency.bodyHash,
              batch: id,
            },
          ],
    );
    if (keys.length === 0) return;
    const keyList = engine.rows(keys, {
      principal: 'text',
      route: 'text',
      key: 'text',
      body_hash: 'text',
      batch: 'text',
    });
    await sql`
      INSERT INTO idempotency (principal, route, key, body_hash, batch, created_at)
      SELECT principal, route, key, body_hash, batch, ${engine.now} FROM ${keyList} c`.execute(db);
  }
}

export interface JournalOptions {
  readonly backlogOperationsMax: number;
  readonly defaultFlowAction: PlanContext['defaultFlowAction'];
}

interface KnownKey {
  readonly bodyHash: string;
  readonly batch: string;
}

const nothing: GroupAnswer = { ended: [], effects: [], batches: 0, operations: 0, more: false, poolsBelowMinimum: [] };

const emptyPicture = {
  pools: [],
  volumes: [],
  freeVolumes: [],
  attachments: [],
  hosts: [],
  storageNodes: [],
  flowPolicies: [],
  qosPolicies: new Set<string>(),
  luns: [],
  waits: [],
};

/** Deduplicates keys within the group in memory, so that no unique violation can fail a neighbour. */
function decideAcceptance(
  batches: readonly NewBatch[],
  known: Map<string, KnownKey>,
  room: number,
): { accepted: NewBatch[]; answers: AcceptAnswer[] } {
  const accepted: NewBatch[] = [];
  let left = room;
  const answers = batches.map((batch): AcceptAnswer => {
    const { idempotency } = batch;
    const key = idempotency === null ? null : keyText(batch.principal.id, idempotency.route, idempotency.key);
    const before = key === null ? undefined : known.get(key);
    if (before !== undefined && idempotency !== null) return replay(before, idempotency.bodyHash);
    if (batch.operations.length > left) {
      return {
        accepted: false,
        problem: problem('journal-full', 'Too many operations are waiting; try again in a moment.'),
      };
    }
    left -= batch.operations.length;
    if (key !== null && idempotency !== null) known.set(key, { bodyHash: idempotency.bodyHash, batch: batch.id });
    accepted.push(batch);
    return { accepted: true, batch: batch.id, replay: false };
  });
  return { accepted, answers };
}

function replay(before: KnownKey, bodyHash: string): AcceptAnswer {
  if (before.bodyHash === bodyHash) return { accepted: true, batch: before.batch, replay: true };
  const detail = 'This Idempotency-Key was used with another body; use a new key for a new request.';
  return { accepted: false, problem: problem('idempotency-key-reused', detail, { field: 'Idempotency-Key' }) };
}

function keyText(principal: string, route: string, key: string): string {
  return JSON.stringify([principal, route, key]);
}

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

function wakesOthers(plan: GroupPlan, picture: Picture): boolean {
  return plan.woken.length > 0 || (picture.waits.length > 0 && plan.unblocked.length > 0);
}

function freeDelta(plan: GroupPlan, pool: string): number {
  return plan.poolDeltas.find((delta) => delta.pool === pool)?.counts.free ?? 0;
}

function answerOf(
  tx: Change,
  plan: GroupPlan,
  earlier: ReadonlyMap<string, OperationTable[]>,
): Pick<GroupAnswer, 'ended' | 'effects' | 'operations'> {
  const byBatch = new Map<string, Operation[]>();
  for (const outcome of plan.outcomes) {
    const list = byBatch.get(outcome.batch.id) ?? [];
    list.push(endedOperation(outcome, tx.now));
    byBatch.set(outcome.batch.id, list);
  }
  const ended = plan.batches.flatMap(({ batch, state, decision }): Batch[] => {
    if (state !== 'ended') return [];
    const operations = [...(earlier.get(batch.id) ?? []).map(operationOf), ...(byBatch.get(batch.id) ?? [])];
    operations.sort((a, b) => batchOf(a.id).index - batchOf(b.id).index);
    const { id, atomicity, principal, acceptedAt } = batch;
    return [{ id, state, atomicity, decision, operations, requestedBy: principal, acceptedAt, endedAt: tx.now }];
  });
  return { ended, effects: plan.effects, operations: plan.outcomes.length };
}

function endedOperation({ batch, index, outcome }: EndedOperation, now: number): Operation {
  const spec = batch.operations[index];
  return {
    id: operationId(batch.id, index),
    batch: batch.id,
    type: spec?.type ?? 'volume.create',
    state: outcome.state,
    resource: outcome.state === 'succeeded' ? outcome.resource : null,
    existing: outcome.state === 'succeeded' && outcome.existing,
    problem: outcome.state === 'failed' ? outcome.problem : null,
    requestedBy: batch.principal,
    acceptedAt: batch.acceptedAt,
    endedAt: now,
  };
}
