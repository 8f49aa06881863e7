/**
 * Random batches over a few names, their work interrupted at random, against a model that takes one operation after the
 * other. Whatever the interleaving, every operation ends as in the model, and so do the resources.
 */
import test from 'ava';
import fc from 'fast-check';
import { assert } from '../../src/domain/errors.ts';
import type { Atomicity, Batch, OperationSpec } from '../../src/domain/operation.ts';
import type { Effect } from '../../src/store/store.ts';
import {
  attach,
  create,
  createOnDemand,
  detach,
  OperationWorld,
  permit,
  poolDefaults,
  remove,
  removePolicy,
  words,
} from '../support/operation-world.ts';
import { firstPage, sqliteWorld } from '../support/store-world.ts';

const open = sqliteWorld();

type Wish =
  | { readonly do: 'create'; readonly name: string; readonly label: string | null; readonly slow: boolean }
  | { readonly do: 'attach'; readonly name: string; readonly host: string; readonly reads: boolean }
  | { readonly do: 'permit'; readonly name: string; readonly deny: boolean }
  | { readonly do: 'delete'; readonly name: string }
  | { readonly do: 'detach'; readonly which: number }
  | { readonly do: 'forget'; readonly which: number };

const names = fc.constantFrom('a', 'b', 'c');
const wishes: fc.Arbitrary<Wish> = fc.oneof(
  fc.record({
    do: fc.constant('create' as const),
    name: names,
    label: fc.constantFrom(null, null, 'x', 'y'),
    slow: fc.boolean(),
  }),
  fc.record({
    do: fc.constant('attach' as const),
    name: names,
    host: fc.constantFrom('host1', 'host2'),
    reads: fc.boolean(),
  }),
  fc.record({ do: fc.constant('permit' as const), name: names, deny: fc.boolean() }),
  fc.record({ do: fc.constant('delete' as const), name: names }),
  fc.record({ do: fc.constant('detach' as const), which: fc.nat({ max: 5 }) }),
  fc.record({ do: fc.constant('forget' as const), which: fc.nat({ max: 5 }) }),
);

type Move =
  | { readonly move: 'accept'; readonly atomic: boolean; readonly wishes: readonly Wish[] }
  | { readonly move: 'advance'; readonly batches: number }
  | { readonly move: 'settle'; readonly which: number; readonly lost: boolean }
  | { readonly move: 'crash' };

const moves: fc.Arbitrary<Move> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      move: fc.constant('accept' as const),
      atomic: fc.boolean(),
      wishes: fc.array(wishes, { minLength: 1, maxLength: 5 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ move: fc.constant('advance' as const), batches: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ move: fc.constant('settle' as const), which: fc.nat({ max: 3 }), lost: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ move: fc.constant('crash' as const) }) },
);

test('HAZARD 14: any interleaving of work, loss and crashes ends as one operation after the other would', async (t) => {
  const property = fc.asyncProperty(fc.array(moves, { minLength: 8, maxLength: 40 }), async (history) => {
    const world = await OperationWorld.open(t, open, { free: 60 });
    const run = new Run(world);
    for (const move of history) await run.make(move);
    await world.settleDown();
    await run.compare();
  });
  await t.notThrowsAsync(fc.assert(property, { numRuns: 80, endOnFailure: true, includeErrorInReport: true }));
});

const kept = { pageSize: 1_000, pageToken: null };

class Run {
  readonly #world: OperationWorld;
  readonly #batches: { readonly id: string; readonly operations: readonly OperationSpec[] }[] = [];
  #inFlight: Effect[][] = [];

  constructor(world: OperationWorld) {
    this.#world = world;
  }

  async make(move: Move): Promise<void> {
    if (move.move === 'accept') await this.#accept(move);
    else if (move.move === 'advance') this.#take((await this.#world.advance(move.batches)).effects);
    else if (move.move === 'settle') await this.#settle(move.which, move.lost);
    else {
      this.#inFlight = [];
      await this.#world.journal.effectsRecover({ all: true });
    }
  }

  async #accept({ atomic, wishes: asked }: Extract<Move, { move: 'accept' }>): Promise<void> {
    const atomicity: Atomicity = atomic ? 'all-or-nothing' : 'per-operation';
    const operations = await this.#operationsOf(atomic ? lastThingsLast(asked) : asked);
    this.#batches.push({ id: await this.#world.accept(operations, atomicity), operations });
  }

  async #operationsOf(asked: readonly Wish[]): Promise<OperationSpec[]> {
    const { resources } = this.#world.store;
    const attachments = (await resources.attachmentList({}, kept)).items.map(({ id }) => id);
    const policies = (await resources.flowPolicyList({}, kept)).items.map(({ id }) => id);
    return asked.map((wish) => {
      if (wish.do !== 'detach' && wish.do !== 'forget') return specOf(wish);
      if (wish.do === 'detach') return detach(attachments[wish.which % attachments.length] ?? 'att_none');
      return removePolicy(policies[wish.which % policies.length] ?? 'flow_none');
    });
  }

  #take(effects: readonly Effect[]): void {
    // Effects of one commit come back in two parts, whichever first.
    const half = Math.ceil(effects.length / 2);
    for (const part of [effects.slice(0, half), effects.slice(half)])
      if (part.length > 0) this.#inFlight.push([...part]);
  }

  async #settle(which: number, lost: boolean): Promise<void> {
    const [effects] = this.#inFlight.splice(which % Math.max(1, this.#inFlight.length), 1);
    if (effects === undefined) return;
    const outcomes = await this.#world.carryOut(effects);
    if (!lost) this.#take((await this.#world.settle(outcomes)).effects);
  }

  async compare(): Promise<void> {
    const model = new SequentialModel();
    const story: string[] = [];
    for (const { id, operations } of this.#batches) {
      const batch = await this.#world.batch(id);
      const expected = model.batch(batch, operations);
      const found = comparable(batch);
      story.push(JSON.stringify({ atomicity: batch.atomicity, operations, expected, found }));
      if (JSON.stringify(expected) !== JSON.stringify(found)) throw new Error(story.join('\n'));
    }
    const leftovers = await this.#world.leftovers();
    if (leftovers !== '') throw new Error([...story, leftovers].join('\n'));
    const { items } = await this.#world.store.resources.volumeList({ state: 'allocated' }, firstPage);
    const shown = items.map(({ name, attachments }) => `${name} ${attachments.map(({ host }) => host).sort()}`).sort();
    const wanted = model.volumes();
    if (JSON.stringify(shown) !== JSON.stringify(wanted)) throw new Error([...story, ...shown, ...wanted].join('\n'));
  }
}

/**
 * Within an all-or-nothing batch what takes something away takes effect behind everything else, a deletion behind
 * detaches; what builds on one is refused, and not this model's matter.
 */
function lastThingsLast(asked: readonly Wish[]): Wish[] {
  const rank = (wish: Wish) => (wish.do === 'delete' ? 2 : isLast(wish) ? 1 : 0);
  return [...asked].sort((a, b) => rank(a) - rank(b));
}

type LastWish = Extract<Wish, { do: 'delete' | 'detach' | 'forget' }>;

function isLast(wish: Wish): wish is LastWish {
  return wish.do === 'delete' || wish.do === 'detach' || wish.do === 'forget';
}

function specOf(wish: Exclude<Wish, { do: 'detach' | 'forget' }>): OperationSpec {
  switch (wish.do) {
    case 'create': {
      const labels = wish.label === null ? {} : { labels: { kind: wish.label } };
      const made = wish.slow ? createOnDemand(wish.name) : create(wish.name);
      assert(made.type === 'volume.create', 'test-create');
      return { type: made.type, params: { ...made.params, ...labels } };
    }
    case 'attach':
      return attach(wish.name, wish.host, { accessMode: wish.reads ? 'read-only-many' : 'single-writer' });
    case 'permit':
      return permit(wish.name, { action: wish.deny ? 'deny' : 'permit' });
    case 'delete':
      return remove(wish.name);
  }
}

/** Which operation of a refused whole was the one to fail depends on the rounds; that it was refused does not. */
function comparable(batch: Batch): string[] {
  const found = words(batch);
  if (batch.atomicity === 'per-operation' || found.every(isSuccess)) return found;
  return found.some(isSuccess) ? ['in part', ...found] : ['refused'];
}

function isSuccess(word: string): boolean {
  return word === 'done' || word === 'existing';
}

interface ModelVolume {
  readonly pool: string | undefined;
  readonly kind: string | undefined;
  readonly attachments: readonly { readonly id: string; readonly host: string; readonly mode: string }[];
}

interface ModelPolicy {
  readonly id: string;
  readonly action: string;
}

/** One operation after the other. Ids are learned from the answers. */
class SequentialModel {
  #volumes = new Map<string, ModelVolume>();
  #policies = new Map<string, ModelPolicy>();

  volumes(): string[] {
    return [...this.#volumes]
      .map(([name, { attachments }]) => `${name} ${attachments.map(({ host }) => host).sort()}`)
      .sort();
  }

  batch(batch: Batch, operations: readonly OperationSpec[]): string[] {
    const before = { volumes: new Map(this.#volumes), policies: new Map(this.#policies) };
    const ids = batch.operations.map(({ resource }) => resource?.id ?? 'never made');
    const found = operations.map((operation, index) => this.#apply(operation, ids[index] ?? ''));
    if (batch.atomicity === 'per-operation' || found.every(isSuccess)) return found;
    this.#volumes = before.volumes;
    this.#policies = before.policies;
    return ['refused'];
  }

  #apply(operation: OperationSpec, id: string): string {
    switch (operation.type) {
      case 'volume.create':
        return this.#create(operation.params);
      case 'volume.delete':
        return this.#delete(operation.params.volume);
      case 'volume.attach':
        return this.#attach(operation.params, id);
      case 'volume.detach':
        return this.#detach(operation.params.attachment);
      case 'flow-policy.create':
        return this.#permit(operation.params.namespace ?? '', operation.params.action, id);
      case 'flow-policy.delete':
        return this.#forget(operation.params.flowPolicy);
    }
  }

  #create({ name, pool, labels }: Extract<OperationSpec, { type: 'volume.create' }>['params']): string {
    const volume = this.#volumes.get(name);
    const kind = labels?.kind;
    if (volume === undefined) {
      this.#volumes.set(name, { pool, kind, attachments: [] });
      return 'done';
    }
    const isLarge = pool === poolDefaults.name || volume.pool === undefined;
    const same =
      isLarge && (pool === undefined || pool === volume.pool) && (kind === undefined || kind === volume.kind);
    return same ? 'existing' : 'name-taken';
  }

  #delete(name: string): string {
    const volume = this.#volumes.get(name);
    if (volume === undefined) return 'volume-not-found';
    if (volume.attachments.length > 0) return 'volume-in-use';
    this.#volumes.delete(name);
    return 'done';
  }

  #attach(params: Extract<OperationSpec, { type: 'volume.attach' }>['params'], id: string): string {
    const { volume: name, host, accessMode: mode } = params;
    const volume = this.#volumes.get(name);
    if (volume === undefined) return 'volume-not-found';
    const own = volume.attachments.find((attachment) => attachment.host === host);
    if (own !== undefined) return own.mode === mode ? 'existing' : 'volume-in-use';
    const free = volume.attachments.every((attachment) => mode === 'read-only-many' && attachment.mode === mode);
    if (!free) return 'volume-in-use';
    this.#volumes.set(name, { ...volume, attachments: [...volume.attachments, { id, host, mode }] });
    return 'done';
  }

  #detach(id: string): string {
    for (const [name, volume] of this.#volumes) {
      const rest = volume.attachments.filter((attachment) => attachment.id !== id);
      if (rest.length === volume.attachments.length) continue;
      this.#volumes.set(name, { ...volume, attachments: rest });
      return 'done';
    }
    return 'attachment-not-found';
  }

  #permit(namespace: string, action: string, id: string): string {
    const policy = this.#policies.get(namespace);
    if (policy !== undefined) return policy.action === action ? 'existing' : 'name-taken';
    this.#policies.set(namespace, { id, action });
    return 'done';
  }

  #forget(id: string): string {
    for (const [namespace, policy] of this.#policies) {
      if (policy.id === id) return this.#policies.delete(namespace) ? 'done' : 'never';
    }
    return 'flow-policy-not-found';
  }
}
