import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { NodeLease } from '../../src/bin/compose/node-lease.ts';
import { limits } from '../../src/config/limits.ts';
import { Failure } from '../../src/domain/errors.ts';

/** The database's side: who has it and under which token, and what a request meets on its way. */
class World {
  nowMs = 1_000;
  holder: string | null = null;
  token = 0;
  /** What happens while a request is under way. */
  meanwhile: () => Promise<void> | void = () => undefined;
  readonly calls: string[] = [];
  readonly told: string[] = [];
  readonly directory = mkdtempSync(join(tmpdir(), 'fcr-lease-'));

  readonly store = {
    leaseTake: async (_name: string, owner: string): Promise<number | null> => {
      await this.meanwhile();
      if (this.holder !== null && this.holder !== owner) return null;
      if (this.holder === null) this.token += 1;
      this.holder = owner;
      this.calls.push('take');
      return this.token;
    },
    leaseDrop: async (): Promise<void> => {
      this.holder = null;
      this.calls.push('drop');
    },
  };

  async take(t: ExecutionContext): Promise<NodeLease> {
    t.teardown(() => rmSync(this.directory, { recursive: true }));
    const tell = (level: string) => () => void this.told.push(level);
    const log = { info: tell('info'), warn: tell('warn'), error: tell('error') };
    const clock = { monotonic: () => this.nowMs };
    const lease = await NodeLease.take({ store: this.store, dataDir: this.directory, clock, log });
    t.teardown(() => lease.close());
    lease.leads({
      recover: async () => {
        this.calls.push(`recover ${lease.mayAct()}`);
      },
      resume: () => void this.calls.push(`resume ${lease.mayAct()}`),
    });
    this.calls.length = 0;
    return lease;
  }

  passAlmost(): void {
    this.nowMs += limits.nodeLeaseMs - 1;
  }
}

const away = () => Promise.reject(new Failure('store-unavailable', 'It is away.'));

test('a lease that is not extended is over once its time has passed, without anybody saying so', async (t) => {
  const world = new World();
  const lease = await world.take(t);
  world.passAlmost();
  t.true(lease.mayAct());
  world.nowMs += 1;
  t.false(lease.mayAct());
  t.regex(lease.trouble ?? '', /could not be extended in time/);
});

test('its time counts from before the request was sent, not from the answer', async (t) => {
  const world = new World();
  const lease = await world.take(t);
  world.nowMs += limits.nodeLeaseRenewMs;
  world.meanwhile = () => {
    world.nowMs += 5_000;
  };
  await lease.renew();
  world.nowMs += limits.nodeLeaseMs - 5_001;
  t.true(lease.mayAct());
  world.nowMs += 1;
  t.false(lease.mayAct());
});

test('an extension in time goes on without a word', async (t) => {
  const world = new World();
  const lease = await world.take(t);
  for (let round = 0; round < 3; round += 1) {
    world.passAlmost();
    await lease.renew();
    t.true(lease.mayAct());
  }
  t.deepEqual(world.calls, ['take', 'take', 'take']);
  t.deepEqual(world.told, []);
});

test('a database that is away for a moment costs nothing, and for longer the work; it goes on after a recovery', async (t) => {
  const world = new World();
  const lease = await world.take(t);
  world.meanwhile = away;
  await lease.renew();
  t.true(lease.mayAct());
  world.nowMs += limits.nodeLeaseMs;
  await lease.renew();
  t.false(lease.mayAct());
  world.meanwhile = () => undefined;
  await lease.renew();
  t.deepEqual(world.calls, ['take', 'recover false', 'resume true']);
  t.deepEqual(world.told, ['warn', 'error', 'warn', 'info']);
});

test('an answer that comes after the time had passed is a lease taken anew', async (t) => {
  const world = new World();
  const lease = await world.take(t);
  world.meanwhile = () => world.passAlmost();
  await lease.renew();
  t.true(lease.mayAct());
  t.deepEqual(world.calls, ['take']);
  world.calls.length = 0;
  await lease.renew();
  t.deepEqual(world.calls, ['take', 'recover false', 'resume true']);
});

test('HAZARD 1: a lease that another has is over at once, and is taken up again only after a recovery', async (t) => {
  const world = new World();
  const lease = await world.take(t);
  world.holder = 'another';
  await lease.renew();
  await lease.renew();
  t.false(lease.mayAct());
  t.regex(lease.trouble ?? '', /Another storage node/);
  world.holder = null;
  await lease.renew();
  t.true(lease.mayAct());
  t.deepEqual(world.calls, ['take', 'recover false', 'resume true']);
  t.deepEqual(world.told, ['error', 'info']);
});

test('a lease that another had in between is one taken anew', async (t) => {
  const world = new World();
  const lease = await world.take(t);
  world.token += 1;
  await lease.renew();
  t.deepEqual(world.calls, ['take', 'recover false', 'resume true']);
});

test('a recovery that fails is repeated before anything is begun', async (t) => {
  const world = new World();
  const lease = await world.take(t);
  let tries = 0;
  lease.leads({
    recover: async () => {
      tries += 1;
      if (tries === 1) await away();
    },
    resume: () => undefined,
  });
  world.nowMs += limits.nodeLeaseMs;
  await lease.renew();
  t.false(lease.mayAct());
  await lease.renew();
  t.true(lease.mayAct());
  t.is(tries, 2);
});

test('it is given back behind the extension that was under way, and acts no more', async (t) => {
  const world = new World();
  const lease = await world.take(t);
  let answer: () => void = () => undefined;
  world.meanwhile = () => new Promise((resolve) => (answer = resolve));
  const renewed = lease.renew();
  const closed = lease.close();
  answer();
  await Promise.all([renewed, closed]);
  t.deepEqual(world.calls, ['take', 'drop']);
  t.is(world.holder, null);
  t.false(lease.mayAct());
});

test('a lease that cannot be given back runs out by itself, and closes all the same', async (t) => {
  const world = new World();
  const lease = await world.take(t);
  world.store.leaseDrop = away;
  await t.notThrowsAsync(lease.close());
  t.deepEqual(world.told, ['warn']);
});

test('a second storage node is refused', async (t) => {
  const world = new World();
  world.holder = 'another';
  const failure = await t.throwsAsync(world.take(t), { instanceOf: Failure });
  t.is(failure?.code, 'resource-in-use');
});
