/** Many workers on one journal. */
import test from 'ava';
import { limits } from '../../src/config/limits.ts';
import { problem } from '../../src/domain/errors.ts';
import type { LeaseTerm } from '../../src/store/store.ts';
import { attach, create, createOnDemand, OperationWorld, poolDefaults, words } from '../support/operation-world.ts';
import { firstPage, type OpenWorld } from '../support/store-world.ts';

async function leaseTaken({ store }: OperationWorld, owner: string): Promise<LeaseTerm | null> {
  const token = await store.maintenance.leaseTake('storage-node', owner, 60_000);
  return token === null ? null : { name: 'storage-node', token };
}

export function storeWorkersSuite(open: OpenWorld): void {
  test('HAZARD 1: a worker whose lease another has taken plans nothing more and settles nothing', async (t) => {
    const world = await OperationWorld.open(t, open);
    const successor = world.another();
    world.lease = await leaseTaken(world, 'one');
    const begun = await world.accept([createOnDemand('begun')]);
    const outcomes = await world.carryOut((await world.advance()).effects);
    await world.store.maintenance.leaseDrop('storage-node', 'one');
    successor.lease = await leaseTaken(successor, 'two');
    const waiting = await world.accept([createOnDemand('waiting')]);
    t.is((await world.advance()).batches, 0);
    t.is((await world.settle(outcomes)).batches, 0);
    t.is((await world.batch(begun)).state, 'running');
    t.is((await world.batch(waiting)).state, 'accepted');
    await successor.settleDown();
    t.is((await world.batch(begun)).state, 'ended');
    t.is((await world.batch(waiting)).state, 'ended');
  });

  test('HAZARD 8: workers at once give every volume one owner, and end every batch once', async (t) => {
    const world = await OperationWorld.open(t, open, { free: 20 });
    const workers = [world, world.another(), world.another()];
    const ids = await Promise.all(
      Array.from({ length: 30 }, (_, index) => workers[index % 3]?.accept([create(`v${index}`), attach(`v${index}`)])),
    );
    const ended: string[] = [];
    const work = async (worker: OperationWorld) => {
      for (let idle = 0; idle < 3; ) {
        const answer = await worker.advance(4);
        ended.push(...answer.ended.map(({ id }) => id));
        if (answer.batches === 0) idle += 1;
        const outcomes = await worker.carryOut(answer.effects);
        ended.push(...(await worker.settle(outcomes)).ended.map(({ id }) => id));
      }
    };
    await Promise.all(workers.map(work));
    await world.settleDown();
    t.deepEqual(ended.sort(), ids.map(String).sort());
    const volumes = (await world.store.resources.volumeList({}, firstPage)).items;
    t.is(new Set(volumes.map(({ name }) => name)).size, volumes.length);
    t.is(volumes.length, 30);
    t.is(await world.leftovers(), '');
  });

  test('HAZARD 14: create and attach in two batches are in order whoever works on them', async (t) => {
    const world = await OperationWorld.open(t, open, { free: 2 });
    const workers = [world, world.another(), world.another()];
    const ids: string[] = [];
    for (let index = 0; index < 10; index += 1) {
      const make = index % 2 === 0 ? create(`v${index}`) : createOnDemand(`v${index}`);
      ids.push(await world.accept([make]), await world.accept([attach(`v${index}`)]));
    }
    await Promise.all(
      workers.map(async (worker) => {
        for (let round = 0; round < 20; round += 1) {
          await worker.settle(await worker.carryOut((await worker.advance(1)).effects));
        }
      }),
    );
    await world.settleDown();
    for (const id of ids) t.deepEqual(words(await world.batch(id)), ['done']);
    t.is(await world.leftovers(), '');
  });

  test('HAZARD 18: on-demand and refill together keep maxVolumes, and exhausted is said when it is so', async (t) => {
    const world = await OperationWorld.open(t, open, { pool: { minFree: 4, maxVolumes: 10 }, free: 2 });
    const ids = await Promise.all(Array.from({ length: 12 }, (_, index) => world.accept([create(`v${index}`)])));
    const another = world.another();
    const [, reserved] = await Promise.all([
      world.settleDown(),
      another.store.maintenance.refillReserve(poolDefaults.name, 4),
    ]);
    await world.settleDown();
    const outcomes = await Promise.all(ids.map(async (id) => words(await world.batch(id))[0]));
    const done = outcomes.filter((word) => word === 'done').length;
    t.is(outcomes.filter((word) => word === 'pool-exhausted').length, 12 - done);
    const pool = await world.store.resources.poolGet(poolDefaults.name);
    const { provisioning = 0, free = 0, allocated = 0 } = pool?.status ?? {};
    t.is(provisioning + free + allocated, 10, JSON.stringify(pool?.status));
    t.is(done + reserved.length, 10);
    const refusal = (await world.run([create('more')])).operations[0];
    t.like(refusal?.problem, { code: 'pool-exhausted', field: 'pool' });
    t.deepEqual(await world.store.miscounts(), []);
  });

  test('HAZARD 18: what a broken storage node takes back no better than it makes it counts towards maxVolumes', async (t) => {
    const world = await OperationWorld.open(t, open, { pool: { minFree: 1, maxVolumes: 3 } });
    const broken = { effect: 'fail', problem: problem('storage-failed', 'open: EROFS'), times: 1_000 } as const;
    const faults = [
      world.node.inject({ ...broken, kind: 'provision' }),
      world.node.inject({ ...broken, kind: 'destroy' }),
    ];
    for (const name of ['a', 'b', 'c']) t.deepEqual(words(await world.run([create(name)])), ['storage-failed']);
    const refusal = (await world.run([create('d')])).operations[0];
    t.is(refusal?.problem?.code, 'pool-exhausted');
    t.regex(refusal?.problem?.detail ?? '', /all 3 volumes are in use \(3 of them wait to be destroyed\)/);
    t.deepEqual(await world.store.maintenance.refillReserve(poolDefaults.name, 1), []);
    t.like((await world.store.resources.poolGet(poolDefaults.name))?.status, { retired: 3, provisioning: 0 });
    for (const fault of faults) fault.end();
    await world.wipe();
    t.deepEqual(words(await world.run([create('d')])), ['done']);
    t.is(await world.leftovers(), '');
  });

  test('HAZARD 18: what a broken storage node takes back no better than it makes it is bounded without a pool as well', async (t) => {
    const world = await OperationWorld.open(t, open);
    const broken = { effect: 'fail', problem: problem('storage-failed', 'open: EROFS'), times: 1_000 } as const;
    const faults = [
      world.node.inject({ ...broken, kind: 'provision' }),
      world.node.inject({ ...broken, kind: 'destroy' }),
    ];
    await world.run(Array.from({ length: limits.retiredPoolless }, (_, index) => createOnDemand(`v${index}`)));
    const made = faults[0]?.hits;
    t.is(made, limits.retiredPoolless);
    const [refused] = (await world.run([createOnDemand('w')])).operations;
    t.like(refused?.problem, { code: 'storage-failed', related: { storageNode: 'node' } });
    t.regex(refused?.problem?.detail ?? '', /^100 volumes without a pool could be neither made nor destroyed/);
    t.is(faults[0]?.hits, made);
    for (const fault of faults) fault.end();
    await world.wipe();
    t.deepEqual(words(await world.run([createOnDemand('w')])), ['done']);
    t.is(await world.leftovers(), '');
  });
}
