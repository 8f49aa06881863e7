/**
 * Random work of several drivers at once over one store, with effects that fail, get lost or land late, hosts that
 * claim, let go or stay silent, and forced detaches. No model: whatever happens, all of it ends, and then nothing is
 * held, leaked or counted wrongly, and no volume ever has two writers.
 */
import test from 'ava';
import fc from 'fast-check';
import { problem } from '../../src/domain/errors.ts';
import type { OperationSpec } from '../../src/domain/operation.ts';
import type { Effect } from '../../src/store/store.ts';
import {
  attach,
  attachReader,
  create,
  createOnDemand,
  detach,
  OperationWorld,
  permit,
  remove,
  removePolicy,
} from '../support/operation-world.ts';
import type { OpenWorld } from '../support/store-world.ts';

const names = fc.constantFrom('a', 'b', 'c', 'd');
const hosts = fc.constantFrom('host1', 'host2', 'host3');
const which = fc.nat({ max: 7 });

type Wish = (known: Known) => OperationSpec;

interface Known {
  readonly attachments: readonly string[];
  readonly policies: readonly string[];
}

const pick = (list: readonly string[], index: number) => list[index % Math.max(1, list.length)] ?? 'att_none';

const wishes: fc.Arbitrary<Wish> = fc.oneof(
  fc.tuple(names, fc.boolean()).map(
    ([name, slow]) =>
      () =>
        slow ? createOnDemand(name) : create(name),
  ),
  fc.tuple(names, hosts, fc.boolean()).map(([name, host, reads]) => () => {
    return reads ? attachReader(name, host) : attach(name, host);
  }),
  names.map((name) => () => remove(name)),
  fc.tuple(which, fc.boolean()).map(([index, force]) => ({ attachments }: Known) => {
    return detach(pick(attachments, index), force);
  }),
  names.map((name) => () => permit(name)),
  which.map(
    (index) =>
      ({ policies }: Known) =>
        removePolicy(pick(policies, index)),
  ),
);

type Move =
  | { readonly move: 'accept'; readonly atomic: boolean; readonly wishes: readonly Wish[] }
  | { readonly move: 'advance'; readonly driver: number; readonly batches: number }
  | { readonly move: 'settle'; readonly driver: number; readonly which: number; readonly lost: boolean }
  | { readonly move: 'fault'; readonly effect: 'fail' | 'throw' | 'late'; readonly landed: boolean }
  | { readonly move: 'host'; readonly which: number; readonly side: 'claimed' | 'attached' | 'gone' }
  | { readonly move: 'crash' | 'wipe' };

const driver = fc.nat({ max: 1 });
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
    arbitrary: fc.record({ move: fc.constant('advance' as const), driver, batches: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 5, arbitrary: fc.record({ move: fc.constant('settle' as const), driver, which, lost: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      move: fc.constant('fault' as const),
      effect: fc.constantFrom('fail' as const, 'throw' as const, 'late' as const),
      landed: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      move: fc.constant('host' as const),
      which,
      side: fc.constantFrom('claimed' as const, 'attached' as const, 'gone' as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ move: fc.constantFrom('crash' as const, 'wipe' as const) }) },
);

export function operationChaosSuite(open: OpenWorld, runs: number): void {
  for (const canFence of [true, false]) {
    test(`HAZARD 8: whatever happens, it ends, and nothing is left of it (canFence ${canFence})`, async (t) => {
      const property = fc.asyncProperty(fc.array(moves, { minLength: 10, maxLength: 50 }), async (history) => {
        const world = await OperationWorld.open(t, open, { canFence, free: 20 });
        const run = new Chaos(world);
        for (const move of history) await run.make(move);
        await run.end();
      });
      const options = { numRuns: runs, endOnFailure: true, includeErrorInReport: true };
      await t.notThrowsAsync(fc.assert(property, options));
    });
  }
}

const broken = problem('device-error', 'The medium is broken.');

class Chaos {
  readonly #world: OperationWorld;
  readonly #drivers: readonly { readonly world: OperationWorld; inFlight: Effect[][] }[];
  readonly #faults: { end(): void; release(): void }[] = [];
  readonly #batches: string[] = [];

  constructor(world: OperationWorld) {
    this.#world = world;
    this.#drivers = [world, world.another()].map((each) => ({ world: each, inFlight: [] }));
  }

  async make(move: Move): Promise<void> {
    switch (move.move) {
      case 'accept':
        return this.#accept(move);
      case 'advance':
        return this.#advance(move.driver, move.batches);
      case 'settle':
        return this.#settle(move);
      case 'fault':
        return this.#fault(move);
      case 'host':
        return this.#host(move);
      case 'wipe':
        return this.#world.wipe();
      case 'crash':
        for (const each of this.#drivers) each.inFlight = [];
        await this.#world.journal.effectsRecover({ all: true });
    }
  }

  async #accept({ atomic, wishes: asked }: Extract<Move, { move: 'accept' }>): Promise<void> {
    const known = { attachments: await this.#ids('attachments'), policies: await this.#ids('flow_policies') };
    const operations = asked.map((wish) => wish(known));
    this.#batches.push(await this.#world.accept(operations, atomic ? 'all-or-nothing' : 'per-operation'));
  }

  async #ids(table: 'attachments' | 'flow_policies'): Promise<string[]> {
    const rows = await this.#world.store.database.kysely.selectFrom(table).select('id').orderBy('id').execute();
    return rows.map(({ id }) => id);
  }

  async #advance(index: number, batches: number): Promise<void> {
    const one = this.#drivers[index];
    const { effects } = (await one?.world.advance(batches)) ?? { effects: [] };
    for (const effect of effects) one?.inFlight.push([effect]);
  }

  async #settle({ driver: index, which: at, lost }: Extract<Move, { move: 'settle' }>): Promise<void> {
    const one = this.#drivers[index];
    const [effects] = one?.inFlight.splice(at % Math.max(1, one.inFlight.length), 1) ?? [];
    if (one === undefined || effects === undefined) return;
    const outcomes = await one.world.carryOut(effects);
    if (lost) return;
    const answer = await one.world.settle(outcomes);
    for (const effect of answer.effects) one.inFlight.push([effect]);
  }

  #fault({ effect, landed }: Extract<Move, { move: 'fault' }>): void {
    const faults = {
      fail: { effect: 'fail', problem: broken },
      throw: { effect: 'throw', landed },
      late: { effect: 'late' },
    };
    const fault = faults[effect] as Parameters<OperationWorld['node']['inject']>[0];
    this.#faults.push(this.#world.node.inject(fault));
  }

  /** What a host says is often refused: it is too late, or says what cannot be. */
  async #host({ which: at, side }: Extract<Move, { move: 'host' }>): Promise<void> {
    const rows = await this.#world.store.database.kysely.selectFrom('attachments').selectAll().orderBy('id').execute();
    const row = rows[at % Math.max(1, rows.length)];
    if (row === undefined) return;
    const report = { attachment: row.id, epoch: row.epoch, host: row.host, bootId: 'boot1', side, proof: null };
    await this.#world.store.resources.hostStateReport([report]);
  }

  /** The world becomes kind: faults end, hosts let go of what is being detached, what lands late does so now. */
  async end(): Promise<void> {
    for (const fault of this.#faults) fault.end();
    for (let round = 0; round < 50; round += 1) {
      await this.#world.settleDown();
      if (!(await this.#hostsLetGo())) break;
    }
    await this.#world.wipe();
    for (const fault of this.#faults) fault.release();
    await this.#world.node.lateEffectsSettled();
    const leftovers = await this.#world.leftovers();
    const open: string[] = [];
    for (const id of this.#batches) {
      const batch = await this.#world.batch(id);
      if (batch.state !== 'ended') open.push(JSON.stringify(batch));
      const states = new Set(batch.operations.map(({ state }) => state));
      if (batch.atomicity === 'all-or-nothing' && states.size !== 1) open.push(JSON.stringify(batch));
    }
    if (leftovers !== '' || open.length > 0) throw new Error([leftovers, ...open].join('\n'));
  }

  async #hostsLetGo(): Promise<boolean> {
    const { kysely } = this.#world.store.database;
    const rows = await kysely
      .selectFrom('attachments')
      .selectAll()
      .where('state', 'in', ['detaching', 'quarantined'])
      .execute();
    for (const { id, epoch, host } of rows) {
      const report = { attachment: id, epoch, host, bootId: 'boot1', side: 'gone' as const, proof: null };
      await this.#world.store.resources.hostStateReport([report]);
    }
    return rows.length > 0;
  }
}
