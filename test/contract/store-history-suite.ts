/**
 * Random histories of pools against a model that only counts, and the promise that a list costs no more statements than
 * one item.
 */
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { newId } from '../../src/domain/ids.ts';
import type { PoolEffect, VolumeSettle } from '../../src/store/store.ts';
import { admin, counted, done, failed, type OpenWorld, type StoreWorld, wiped } from '../support/store-world.ts';

export function storeHistorySuite(open: OpenWorld, runs: number): void {
  test('HAZARD 18: after any history the counters of a pool are its volumes’, and its maximum is kept', async (t) => {
    const world = await open(t);
    let pools = 0;
    const property = fc.asyncProperty(fc.array(steps, { minLength: 5, maxLength: 40 }), async (history) => {
      pools += 1;
      await new History(t, world, `pool${pools}`).run(history);
    });
    await t.notThrowsAsync(fc.assert(property, { numRuns: runs, endOnFailure: true }));
  });

  statementTests(open);
}

const limitsMax = 6;
const outcomes = ['done', 'failed', 'quarantined'] as const;
const works = ['refill', 'wipe', 'destroy'] as const;
type Outcome = (typeof outcomes)[number];
type Work = (typeof works)[number];

type Step =
  | { readonly do: 'take'; readonly work: Work; readonly atMost: number; readonly all: boolean }
  | { readonly do: 'settle'; readonly work: Work; readonly which: number; readonly outcome: Outcome }
  | { readonly do: 'allocate' | 'give-back' | 'clear'; readonly which: number }
  | { readonly do: 'resize'; readonly minFree: number; readonly maxVolumes: number }
  | { readonly do: 'drain'; readonly draining: boolean }
  | { readonly do: 'trim' }
  | { readonly do: 'recover' };

const number = fc.nat({ max: limitsMax });
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('take' as const),
      work: fc.constantFrom(...works),
      atMost: fc.integer({ min: 1, max: 4 }),
      all: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      work: fc.constantFrom(...works),
      which: number,
      outcome: fc.constantFrom(...outcomes),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constantFrom('allocate' as const, 'give-back' as const, 'clear' as const),
      which: number,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('resize' as const), minFree: number, maxVolumes: number }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('drain' as const), draining: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('trim' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('recover' as const) }) },
);

type State = (typeof counted)[number];
interface Issued {
  readonly volumeId: string;
  readonly generation: number;
}

/** The model: the state of each volume, and the highest generation that was issued for it. */
class History {
  readonly #t: ExecutionContext;
  readonly #world: StoreWorld;
  readonly #pool: string;
  readonly #states = new Map<string, State>();
  readonly #newest = new Map<string, number>();
  readonly #issued: Record<Work, Issued[]> = { refill: [], wipe: [], destroy: [] };
  #minFree = 3;
  #maxVolumes = 4;
  #draining = false;

  constructor(t: ExecutionContext, world: StoreWorld, pool: string) {
    this.#t = t;
    this.#world = world;
    this.#pool = pool;
  }

  async run(history: readonly Step[]): Promise<void> {
    await this.#world.pool({ name: this.#pool, minFree: this.#minFree, maxVolumes: this.#maxVolumes });
    for (const step of history) {
      const before = this.#total();
      await this.#step(step);
      await this.#compare(step, before);
    }
    await this.#leave();
  }

  async #step(step: Step): Promise<void> {
    if (step.do === 'take') await this.#take(step);
    else if (step.do === 'settle') await this.#settle(step);
    else if (step.do === 'resize') await this.#resize(step);
    else if (step.do === 'drain') await this.#drain(step.draining);
    else if (step.do === 'trim') await this.#trim();
    else if (step.do === 'recover') await this.#recover();
    else await this.#own(step.do, step.which);
  }

  async #take({ work, atMost, all }: Extract<Step, { do: 'take' }>): Promise<void> {
    const { maintenance } = this.#world;
    if (work === 'refill') this.#note(work, await maintenance.refillReserve(this.#pool, atMost));
    if (work === 'wipe') this.#note(work, await maintenance.wipeTake({ all, atMost }));
    if (work === 'destroy') this.#note(work, await maintenance.destroyTake({ all, atMost }));
  }

  #note(work: Work, effects: readonly PoolEffect<Issued>[]): void {
    for (const { request } of effects) {
      this.#t.true(request.generation > (this.#newest.get(request.volumeId) ?? 0), 'generations rise');
      this.#newest.set(request.volumeId, request.generation);
      this.#issued[work].push(request);
      if (!this.#states.has(request.volumeId)) this.#states.set(request.volumeId, 'provisioning');
    }
  }

  async #settle({ work, which, outcome }: Extract<Step, { do: 'settle' }>): Promise<void> {
    const list = this.#issued[work];
    const effect = list[which % Math.max(list.length, 1)];
    if (effect === undefined) return;
    await this.#send(work, [resultOf(work, effect, outcome)]);
    const state = this.#states.get(effect.volumeId);
    const expected = { refill: ['provisioning'], wipe: ['wiping'], destroy: ['wiping', 'retired'] }[work];
    if (this.#newest.get(effect.volumeId) !== effect.generation || !expected.includes(state ?? 'removed')) return;
    this.#become(effect.volumeId, stateAfter(work, outcome, state));
  }

  async #send(work: Work, results: readonly VolumeSettle[]): Promise<void> {
    const { maintenance } = this.#world;
    if (work === 'refill') await maintenance.refillSettle(results);
    if (work === 'wipe') await maintenance.wipeSettle(results);
    if (work === 'destroy') await maintenance.destroySettle(results);
  }

  async #own(verb: 'allocate' | 'give-back' | 'clear', which: number): Promise<void> {
    const from = ({ allocate: 'free', 'give-back': 'allocated', clear: 'failed' } as const)[verb];
    const ids = this.#in(from);
    const id = ids[which % Math.max(ids.length, 1)];
    if (id === undefined || (verb === 'allocate' && this.#draining)) return;
    if (verb === 'allocate') await this.#world.allocate(id, id.toLowerCase());
    if (verb === 'give-back') await this.#world.giveBack(id);
    if (verb === 'clear') await this.#world.resources.volumeClear(id);
    this.#newest.set(id, await this.#world.commit());
    this.#become(id, verb === 'allocate' ? 'allocated' : 'wiping');
  }

  async #resize({ minFree, maxVolumes }: Extract<Step, { do: 'resize' }>): Promise<void> {
    if (minFree > maxVolumes) return;
    await this.#world.resources.poolUpdate(this.#pool, { minFree, maxVolumes }, null);
    this.#minFree = minFree;
    this.#maxVolumes = maxVolumes;
  }

  async #drain(draining: boolean): Promise<void> {
    await this.#world.resources.poolUpdate(this.#pool, { draining }, null);
    this.#draining = draining;
  }

  async #trim(): Promise<void> {
    const free = this.#in('free');
    const excess = this.#draining ? free.length : Math.min(free.length, this.#kept() - this.#maxVolumes);
    this.#t.is(await this.#world.maintenance.poolTrim(), Math.max(excess, 0));
    for (const id of free.toSorted().slice(free.length - Math.max(excess, 0))) this.#become(id, 'retired');
  }

  async #recover(): Promise<void> {
    this.#note('refill', await this.#world.maintenance.refillRecover({ all: true, atMost: 100 }));
  }

  #become(id: string, state: State | null): void {
    if (state === null) this.#states.delete(id);
    else this.#states.set(id, state);
  }

  #in(state: State): string[] {
    return [...this.#states].flatMap(([id, each]) => (each === state ? [id] : []));
  }

  /** What counts towards the maximum. */
  #total(): number {
    return this.#states.size;
  }

  #kept(): number {
    return this.#total() - this.#in('retired').length;
  }

  async #compare(step: Step, before: number): Promise<void> {
    const text = JSON.stringify(step);
    this.#t.deepEqual(await this.#world.miscounts(), [], text);
    const pool = await this.#world.resources.poolGet(this.#pool);
    for (const state of counted) this.#t.is(pool?.status[state], this.#in(state).length, `${state} after ${text}`);
    if (step.do !== 'take') return;
    this.#t.true(this.#total() <= Math.max(this.#maxVolumes, before), `maxVolumes after ${text}`);
    if (step.work === 'refill' && this.#total() > before) this.#t.true(this.#in('free').length < this.#minFree);
  }

  /** Leaves no work behind that the next history would take for its own. */
  async #leave(): Promise<void> {
    const { maintenance, resources } = this.#world;
    for (const id of this.#in('allocated')) await this.#world.giveBack(id);
    for (const id of this.#in('failed')) await resources.volumeClear(id);
    await resources.poolDelete(this.#pool);
    const coming = await maintenance.refillRecover({ all: true, atMost: 100 });
    await maintenance.refillSettle(coming.map(({ request }) => failed(request)));
    await maintenance.poolTrim();
    const last = await maintenance.destroyTake({ all: true, atMost: 100 });
    await maintenance.destroySettle(last.map(({ request }) => done(request)));
    this.#t.is(await resources.poolGet(this.#pool), null);
  }
}

function resultOf(work: Work, effect: Issued, outcome: Outcome): VolumeSettle {
  if (outcome === 'done') return work === 'wipe' ? wiped(effect) : done(effect);
  return failed(effect, outcome === 'quarantined');
}

function stateAfter(work: Work, outcome: Outcome, state: State | undefined): State | null {
  if (outcome === 'quarantined') return 'failed';
  if (outcome === 'done') return work === 'destroy' ? null : 'free';
  return work === 'refill' ? null : (state ?? null);
}

/** Statements of one call with so many items. */
async function statements(world: StoreWorld, work: () => Promise<unknown>): Promise<number> {
  const before = world.database.statements;
  await work();
  return world.database.statements - before;
}

function statementTests(open: OpenWorld): void {
  test('refill, wipe and destruction cost as many statements for 50 volumes as for one', async (t) => {
    const world = await open(t);
    const { maintenance, resources } = world;
    await world.pool({ name: 'small', minFree: 1, maxVolumes: 1 });
    await world.pool({ name: 'large', minFree: 50, maxVolumes: 50 });
    const costs: number[][] = [];
    for (const name of ['small', 'large']) {
      let effects: readonly PoolEffect<Issued>[] = [];
      const cost = async (take: () => Promise<readonly PoolEffect<Issued>[]>) =>
        statements(world, async () => {
          effects = await take();
        });
      const settle = (work: (results: VolumeSettle[]) => Promise<void>, result: (effect: Issued) => VolumeSettle) =>
        statements(world, () => work(effects.map(({ request }) => result(request))));
      const all = { all: true, atMost: 100 };
      const row = [await cost(() => maintenance.refillReserve(name, 100))];
      row.push(await cost(() => maintenance.refillRecover(all)));
      row.push(await settle((results) => maintenance.refillSettle(results), done));
      for (const { request } of effects) {
        await world.allocate(request.volumeId, request.volumeId.toLowerCase());
        await world.giveBack(request.volumeId);
      }
      row.push(await cost(() => maintenance.wipeTake(all)));
      row.push(await settle((results) => maintenance.wipeSettle(results), wiped));
      await resources.poolUpdate(name, { draining: true }, null);
      row.push(await statements(world, () => maintenance.poolTrim()));
      row.push(await cost(() => maintenance.destroyTake(all)));
      row.push(await settle((results) => maintenance.destroySettle(results), done));
      costs.push(row);
    }
    t.deepEqual(costs[1], costs[0]);
    t.true(costs.flat().every((cost) => cost > 0));
  });

  test('host reports and lists cost as many statements for 50 attachments as for one', async (t) => {
    const world = await open(t);
    const ids = await world.filledPool({ minFree: 50, maxVolumes: 50 });
    await world.host();
    await world.host({ name: 'host2', machineId: 'machine2', initiatorPorts: [] });
    const base = { epoch: 1, host: 'host1', bootId: 'boot1', proof: null } as const;
    const attachments: string[] = [];
    for (const id of ids) {
      await world.allocate(id, id.toLowerCase());
      attachments.push(await world.attach(id));
    }
    const claims = attachments.map((attachment) => ({ ...base, attachment, side: 'claimed' as const }));
    const one = await statements(world, () => world.resources.hostStateReport(claims.slice(0, 1)));
    t.is(await statements(world, () => world.resources.hostStateReport(claims.slice(1))), one);
    const list = (pageSize: number) =>
      statements(world, () => world.resources.volumeList({}, { pageSize, pageToken: null }));
    t.is(await list(1), await list(50));
    const register = (count: number) => {
      const initiatorPorts = Array.from({ length: count }, (_, index) => ({
        wwpn: `20:00:00:00:00:00:00:0${index}`,
        fabric: 'local',
        state: 'online' as const,
        synthesized: true,
      }));
      const host = { name: newId('h'), machineId: newId('m'), bootId: 'b', simulated: true, initiatorPorts };
      return statements(world, async () => {
        const { name } = await world.resources.hostRegister(host, admin);
        await world.resources.hostDelete(name);
      });
    };
    t.is(await register(1), await register(8));
  });
}
