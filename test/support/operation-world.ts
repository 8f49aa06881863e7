/**
 * The journal over a real database, a simulated storage node that can fail on request, and a driver in place of the
 * worker: it goes on step by step, and a test may have it crash at any of them. Everything in memory is lost then; what
 * follows knows the rows and the node alone.
 */
import type { ExecutionContext } from 'ava';
import { sql } from 'kysely';
import { limits } from '../../src/config/limits.ts';
import type { Attachment } from '../../src/domain/attachment.ts';
import { assert, Failure } from '../../src/domain/errors.ts';
import { newId } from '../../src/domain/ids.ts';
import type { Atomicity, Batch, OperationSpec } from '../../src/domain/operation.ts';
import { carryOut } from '../../src/operations/effects.ts';
import { groupPlanner } from '../../src/operations/planner.ts';
import {
  SimulatedStorageNode,
  type SimulatedStorageNodeOptions,
} from '../../src/storage-node/simulator/simulated-storage-node.ts';
import type { EffectResult, WipeAnswer } from '../../src/storage-node/storage-node.ts';
import type { GroupPlanner } from '../../src/store/group.ts';
import { KyselyJournalStore } from '../../src/store/kysely/journal.ts';
import type {
  AcceptAnswer,
  Effect,
  EffectOutcome,
  GroupAnswer,
  LeaseTerm,
  NewBatch,
  NewPool,
  VolumeSettle,
} from '../../src/store/store.ts';
import { admin, firstPage, type OpenWorld, type StoreWorld } from './store-world.ts';

export const sizeBytes = 16 * 1024 * 1024;
export const hostPorts = {
  host1: '20:00:02:00:00:00:00:a1',
  host2: '20:00:02:00:00:00:00:a2',
  host3: '20:00:02:00:00:00:00:a3',
} as const;
export type HostName = keyof typeof hostPorts;

export interface OperationWorldOptions extends SimulatedStorageNodeOptions {
  readonly pool?: Partial<NewPool>;
  /** Of the pool's volumes, how many are free at first. */
  readonly free?: number;
  readonly backlogOperationsMax?: number;
  readonly planner?: GroupPlanner;
}

/** Thrown by a driver whose process ends here. */
class Crash extends Error {}

export class OperationWorld {
  readonly store: StoreWorld;
  readonly node: SimulatedStorageNode;
  readonly journal: KyselyJournalStore;
  readonly #options: OperationWorldOptions;
  /** Under which it plans and settles. */
  lease: LeaseTerm | null = null;
  #steps = 0;
  #crashAt = 0;

  private constructor(store: StoreWorld, node: SimulatedStorageNode, options: OperationWorldOptions) {
    this.store = store;
    this.node = node;
    this.#options = options;
    const { backlogOperationsMax = 1_000_000, planner = groupPlanner } = options;
    this.journal = new KyselyJournalStore(store.database, planner, {
      backlogOperationsMax,
      defaultFlowAction: 'permit',
    });
  }

  static async open(
    t: ExecutionContext,
    open: OpenWorld,
    options: OperationWorldOptions = {},
  ): Promise<OperationWorld> {
    const node = new SimulatedStorageNode({ name: 'node', backends: ['file'], ...options });
    const world = new OperationWorld(await open(t), node, options);
    const { backends, exporter, canFence, targetPorts } = node.capabilities;
    const ports = targetPorts.map((port) => ({ ...port, state: 'online' as const }));
    const registration = { name: node.name, exporter, backends, canFence, targetPorts: ports };
    await world.store.resources.storageNodeRegister(registration);
    await world.store.resources.poolCreate({ ...poolDefaults, ...options.pool });
    await world.refill(options.free ?? 0);
    for (const host of ['host1', 'host2', 'host3'] as const) await world.#host(host);
    return world;
  }

  /** The same store and storage node as another replica has them. */
  another(): OperationWorld {
    return new OperationWorld(this.store.another(), this.node, this.#options);
  }

  async #host(name: HostName): Promise<void> {
    const port = { wwpn: hostPorts[name], fabric: 'local', state: 'online', synthesized: true } as const;
    const ids = { machineId: `machine of ${name}`, bootId: 'boot1' };
    await this.store.resources.hostRegister({ name, ...ids, simulated: true, initiatorPorts: [port] }, admin);
  }

  /** Fills the pool up to its minimum. */
  async refill(count: number): Promise<void> {
    if (count === 0) return;
    const { maintenance } = this.store;
    const effects = await maintenance.refillReserve(poolDefaults.name, count);
    const results = await this.node.provision(effects.map(({ request }) => request));
    await maintenance.refillSettle(
      effects.map(({ request: { volumeId, generation } }, index) => {
        assert(results[index]?.ok === true, 'test-refill');
        return { volumeId, generation, result: { ok: true, formatted: true } };
      }),
    );
  }

  /** As the reconcilers do: returned volumes are wiped, those without a pool destroyed. What fails is left for later. */
  async wipe(): Promise<void> {
    const { maintenance } = this.store;
    const wipes = (await maintenance.wipeTake({ all: true, atMost: 1_000 })).map(({ request }) => request);
    await maintenance.wipeSettle(settlesOf(wipes, await answered(this.node.wipe(wipes))));
    const destroys = (await maintenance.destroyTake({ all: true, atMost: 1_000 })).map(({ request }) => request);
    await maintenance.destroySettle(settlesOf(destroys, await answered(this.node.destroy(destroys))));
  }

  newBatch(operations: readonly OperationSpec[], atomicity: Atomicity = 'per-operation'): NewBatch {
    return { id: newId('batch'), atomicity, operations, principal: admin, idempotency: null };
  }

  acceptAll(batches: readonly NewBatch[]): Promise<readonly AcceptAnswer[]> {
    return this.journal.batchAccept(batches);
  }

  async accept(operations: readonly OperationSpec[], atomicity: Atomicity = 'per-operation'): Promise<string> {
    const batch = this.newBatch(operations, atomicity);
    const [answer] = await this.acceptAll([batch]);
    assert(answer?.accepted === true, 'test-accept');
    return batch.id;
  }

  /** Accepts, goes on until nothing is left to do, and answers the batch. */
  async run(operations: readonly OperationSpec[], atomicity: Atomicity = 'per-operation'): Promise<Batch> {
    const id = await this.accept(operations, atomicity);
    await this.settleDown();
    return this.batch(id);
  }

  async batch(id: string): Promise<Batch> {
    const batch = await this.journal.batchGet(id);
    assert(batch !== null, 'test-batch');
    return batch;
  }

  advance(maxBatches = 64): Promise<GroupAnswer> {
    return this.journal.groupAdvance({ ...this.#advance, maxBatches });
  }

  settle(outcomes: readonly EffectOutcome[]): Promise<GroupAnswer> {
    return this.journal.groupSettle(outcomes, this.#advance);
  }

  carryOut(effects: readonly Effect[]): Promise<EffectOutcome[]> {
    return carryOut(effects, new Map([[this.node.name, this.node]]), () => undefined);
  }

  get #advance() {
    return { lease: this.lease, maxBatches: 64, maxOperations: 4_000, effectLeaseMs: limits.effectLeaseMs };
  }

  /** Goes on until only hosts (or nobody) can: effects of unknown outcome are issued again. */
  async settleDown(): Promise<void> {
    for (let round = 0; round < roundsMax; round += 1) {
      await this.#work();
      if ((await this.journal.effectsRecover({ all: true })) === 0) return;
    }
    throw new Error(`no end after ${roundsMax} rounds: ${await this.leftovers()}`);
  }

  /** As `settleDown`, with the process ending at the given step once; answers whether it came that far. */
  async settleDownCrashing(crashAt: number): Promise<boolean> {
    this.#steps = 0;
    this.#crashAt = crashAt;
    try {
      await this.settleDown();
      return false;
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      await this.journal.effectsRecover({ all: true });
      return true;
    } finally {
      this.#crashAt = 0;
    }
  }

  async #work(): Promise<void> {
    const waiting: Effect[][] = [];
    for (;;) {
      const answer = await this.advance();
      this.#step();
      if (answer.effects.length > 0) waiting.push([...answer.effects]);
      const effects = waiting.shift();
      if (effects !== undefined) waiting.push(...(await this.#carryOutAndSettle(effects)));
      else if (answer.batches === 0) return;
    }
  }

  async #carryOutAndSettle(effects: readonly Effect[]): Promise<Effect[][]> {
    this.#step();
    const outcomes = await this.carryOut(effects);
    this.#step();
    if (outcomes.length === 0) return [];
    const answer = await this.settle(outcomes);
    this.#step();
    return answer.effects.length === 0 ? [] : [[...answer.effects]];
  }

  #step(): void {
    this.#steps += 1;
    if (this.#steps === this.#crashAt) throw new Crash();
  }

  async attachmentOf(volume: string): Promise<Attachment> {
    const [found] = (await this.store.resources.attachmentList({ volume }, firstPage)).items;
    assert(found !== undefined, 'test-attachment');
    return found;
  }

  /** The host's word about its side. */
  async hostSays(attachment: Attachment, side: 'claimed' | 'attached' | 'gone'): Promise<void> {
    const { id, epoch, host } = attachment;
    const report = { attachment: id, epoch, host, bootId: 'boot1', side, proof: null };
    const [answer] = await this.store.resources.hostStateReport([report]);
    assert(answer?.ok === true, 'test-host-report');
  }

  /** What should not be left once everything has ended, as text; empty when all is well. */
  async leftovers(): Promise<string> {
    const found: string[] = [];
    const { kysely } = this.store.database;
    for (const [what, query] of Object.entries(mustBeEmpty)) {
      const { rows } = await sql<{ id: string }>`${query}`.execute(kysely);
      if (rows.length > 0) found.push(`${what}: ${rows.map(({ id }) => id).join(' ')}`);
    }
    for (const pool of await this.store.miscounts()) found.push(`miscounted pool ${pool}`);
    return [...found, ...(await this.#differences())].join('\n');
  }

  /** Where store and storage node do not say the same. */
  async #differences(): Promise<string[]> {
    const { media, exports } = await this.node.inventory();
    const { kysely } = this.store.database;
    const volumes = await kysely.selectFrom('volumes').selectAll().execute();
    const attachments = await kysely.selectFrom('attachments').selectAll().execute();
    const live = attachments.filter(({ state }) => state !== 'quarantined');
    const wanted = live.flatMap(({ id, paths }) =>
      (JSON.parse(paths) as object[]).map((path) => `${id} ${JSON.stringify(path)}`),
    );
    const found = exports.map(({ attachmentId, path }) => `${attachmentId} ${JSON.stringify(path)}`);
    return [
      ...differences('media', {
        store: volumes.map(({ id, media_generation }) => `${id} ${media_generation}`),
        node: media.map(({ volumeId, mediaGeneration }) => `${volumeId} ${mediaGeneration}`),
      }),
      ...differences('exports', { store: wanted, node: found }),
    ];
  }
}

const roundsMax = 50;

/** A call that throws says nothing of its items. */
async function answered<A>(call: Promise<readonly A[]>): Promise<readonly A[]> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof Failure) return [];
    throw error;
  }
}

function settlesOf(
  requests: readonly { readonly volumeId: string; readonly generation: number }[],
  results: readonly EffectResult<WipeAnswer | null>[],
): VolumeSettle[] {
  return results.flatMap((result, index): VolumeSettle[] => {
    const { volumeId, generation } = requests[index] ?? {};
    assert(volumeId !== undefined && generation !== undefined, 'test-wipe');
    if (result.ok) return [{ volumeId, generation, result: { ok: true, ...result.value } }];
    return [{ volumeId, generation, result: { ...result, quarantine: false } }];
  });
}

export const poolDefaults: NewPool = {
  name: 'pool',
  backend: 'file',
  volumeSizeBytes: sizeBytes,
  minFree: 1_000,
  maxVolumes: 100_000,
  filesystem: 'ext4',
};

function differences(what: string, sides: { readonly store: string[]; readonly node: string[] }): string[] {
  const store = new Set(sides.store);
  const node = new Set(sides.node);
  const missing = [...store].filter((one) => !node.has(one)).map((one) => `${what} missing at the node: ${one}`);
  const strange = [...node].filter((one) => !store.has(one)).map((one) => `${what} unknown to the store: ${one}`);
  return [...missing, ...strange];
}

/** A wipe, or the destruction of a retired volume, that is under way holds nothing: nobody's operation waits for it. */
const isErased = sql`state IN ('wiping', 'retired')`;
const marks = sql`held_by IS NOT NULL OR pending_operation IS NOT NULL`;
const held = sql`a.volume_id = v.id AND a.state <> 'quarantined'`;

const mustBeEmpty = {
  'open batches': sql`SELECT id FROM batches WHERE state <> 'ended' OR ready = 1 OR lease_until > 0`,
  blocks: sql`SELECT blocker AS id FROM blocks`,
  waits: sql`SELECT operation AS id FROM waits`,
  'held volumes': sql`SELECT id FROM volumes WHERE ${marks} OR (effect IS NOT NULL AND NOT ${isErased})`,
  'held attachments': sql`SELECT id FROM attachments WHERE ${marks} OR effect IS NOT NULL`,
  'held policies': sql`SELECT id FROM flow_policies WHERE ${marks} OR state <> 'active'`,
  'volumes with a wrong writer': sql`SELECT v.id FROM volumes v WHERE coalesce(v.writer, '') <> coalesce(
    (SELECT max(a.id) FROM attachments a WHERE ${held} AND a.access_mode = 'single-writer'), '')`,
  'volumes with wrong readers': sql`SELECT v.id FROM volumes v WHERE v.readers <>
    (SELECT count(*) FROM attachments a WHERE ${held} AND a.access_mode = 'read-only-many')`,
  'attachments without a volume': sql`SELECT id FROM attachments a
    WHERE NOT EXISTS (SELECT 1 FROM volumes v WHERE v.id = a.volume_id)`,
  'LUN numbers of nobody': sql`SELECT attachment AS id FROM luns WHERE attachment IS NOT NULL
    AND attachment NOT IN (SELECT id FROM attachments)`,
  'LUN numbers that are not kept': sql`SELECT id FROM attachments WHERE id NOT IN (
    SELECT attachment FROM luns WHERE attachment IS NOT NULL)`,
};

// What requests are made of.

export function create(name: string, params: Omit<CreateParams, 'name'> = { pool: poolDefaults.name }): OperationSpec {
  return { type: 'volume.create', params: { name, ...params } };
}

type CreateParams = Extract<OperationSpec, { type: 'volume.create' }>['params'];

/** A volume that no pool has: it is always made on demand, which takes an effect. */
export function createOnDemand(name: string): OperationSpec {
  return create(name, { sizeBytes: 2 * sizeBytes });
}

export function remove(volume: string): OperationSpec {
  return { type: 'volume.delete', params: { volume } };
}

type AttachParams = Extract<OperationSpec, { type: 'volume.attach' }>['params'];

export function attach(volume: string, host: string = 'host1', params: Partial<AttachParams> = {}): OperationSpec {
  return { type: 'volume.attach', params: { volume, host, accessMode: 'single-writer', ...params } };
}

export function attachReader(volume: string, host: string): OperationSpec {
  return attach(volume, host, { accessMode: 'read-only-many' });
}

export function detach(attachment: string, force = false): OperationSpec {
  return { type: 'volume.detach', params: { attachment, ...(force ? { force } : {}) } };
}

type PolicyParams = Extract<OperationSpec, { type: 'flow-policy.create' }>['params'];

export function permit(namespace: string, params: Partial<PolicyParams> = {}): OperationSpec {
  return { type: 'flow-policy.create', params: { namespace, action: 'permit', ...params } };
}

export function removePolicy(flowPolicy: string, ifVersion?: number): OperationSpec {
  return { type: 'flow-policy.delete', params: { flowPolicy, ...(ifVersion === undefined ? {} : { ifVersion }) } };
}

/** Each operation's end in a word: `created`, `existing`, or the code of its problem; its state while it has not ended. */
export function words({ operations }: Batch): string[] {
  return operations.map(({ state, existing, problem }) => {
    if (state === 'succeeded') return existing ? 'existing' : 'done';
    return problem?.code ?? state;
  });
}
