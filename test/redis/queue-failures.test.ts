import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { BullMqQueue } from '../../src/queue/bullmq/bullmq-queue.ts';
import { until } from '../support/daemon.ts';
import { CountedWork, RecordingQueueObserver } from '../support/queue-observer.ts';
import { RedisServer } from '../support/redis.ts';

/**
 * The queue is not the truth. Each test does to a Redis of its own what Redis does to its users, and shows that the
 * queue loses at most messages, never its ability to deliver the next one, and never the caller's time.
 */
interface World {
  readonly redis: RedisServer;
  readonly open: (lockMs?: number) => Promise<{ queue: BullMqQueue; observer: RecordingQueueObserver }>;
}

async function world(t: ExecutionContext): Promise<World> {
  const redis = await RedisServer.start();
  const queues: BullMqQueue[] = [];
  t.teardown(async () => {
    redis.resume();
    await Promise.all(queues.map((queue) => queue.close()));
    await redis.close();
  });
  const open = async (lockMs?: number) => {
    const observer = new RecordingQueueObserver();
    const queue = new BullMqQueue({ url: redis.url, observer, ...(lockMs === undefined ? {} : { lockMs }) });
    queues.push(queue);
    await works(queue);
    return { queue, observer };
  };
  return { redis, open };
}

const works = (queue: BullMqQueue) => until(() => queue.trouble() === null, { what: 'the queue works' });
const fails = (queue: BullMqQueue) => until(() => queue.trouble() !== null, { what: 'the queue tells its trouble' });

/** Wakes from one process until work has run in another, as a caller with a timer would. */
async function delivers(from: BullMqQueue, work: CountedWork): Promise<void> {
  const before = work.ended;
  await from.wake('probe');
  await until(() => work.ended > before, { what: 'a wake-up from one process reaches another' });
}

test('HAZARDS 7: Redis killed: a wake-up resolves, is counted, and runs the local worker; it recovers by itself', async (t) => {
  const { redis, open } = await world(t);
  const { queue, observer } = await open();
  const work = new CountedWork();
  queue.onWake(work.run);
  await delivers(queue, work);
  await redis.kill();
  await fails(queue);
  const before = work.ended;
  await queue.wake('while-away');
  await queue.announceEnded(['while-away']);
  await until(() => work.ended > before, { what: 'the local worker runs without Redis' });
  t.true(observer.handoversFailed.includes('wake'));
  t.true(observer.handoversFailed.includes('announcement'));
  await redis.restart();
  await works(queue);
  await delivers(queue, work);
  t.is(work.mostAtOnce, 1);
});

for (const [title, empty] of [
  ['Redis restarted with its data', false],
  ['Redis restarted empty', true],
] as const) {
  test(`HAZARDS 7: ${title}: the wake-up that was lost meanwhile is sent again, to a worker elsewhere`, async (t) => {
    const { redis, open } = await world(t);
    const { queue: sender } = await open();
    const { queue: receiver } = await open();
    const work = new CountedWork();
    receiver.onWake(work.run);
    await delivers(sender, work);
    await redis.kill();
    await fails(sender);
    const before = work.ended;
    await sender.wake('while-away');
    t.is(work.ended, before);
    await redis.restart({ empty });
    await until(() => work.ended > before, { what: 'the lost wake-up arrives' });
  });

  test(`HAZARDS 7: ${title}: announcements go on`, async (t) => {
    const { redis, open } = await world(t);
    const { queue: sender } = await open();
    const { queue: receiver } = await open();
    const told: string[] = [];
    receiver.onEnded((ids) => told.push(...ids));
    await redis.restart({ empty });
    await works(sender);
    let round = 0;
    const arrives = async () => {
      round += 1;
      await sender.announceEnded([`batch-${round}`]);
      return told.length > 0;
    };
    await until(arrives, { what: 'an announcement arrives', everyMs: 100 });
    t.regex(told[0] ?? '', /^batch-/);
  });
}

test('HAZARDS 7: FLUSHALL under living connections: wake-ups are delivered', async (t) => {
  const { redis, open } = await world(t);
  const { queue } = await open();
  const work = new CountedWork();
  queue.onWake(work.run);
  await delivers(queue, work);
  for (let round = 0; round < 3; round += 1) {
    await redis.flush();
    await delivers(queue, work);
  }
  t.is(work.mostAtOnce, 1);
});

test('HAZARDS 7: FLUSHALL under a living connection: a wake-up that nobody had taken is put back', async (t) => {
  const { redis, open } = await world(t);
  const { queue } = await open();
  await queue.wake('batch');
  t.is(await queue.depth(), 1);
  await redis.flush();
  await until(async () => (await queue.depth()) === 1, { what: 'the wake-up waits again' });
  const work = new CountedWork();
  queue.onWake(work.run);
  await until(() => work.ended === 1, { what: 'it is delivered' });
  t.is(work.started, 1);
});

test('HAZARDS 7: Redis paused for 10 s: nothing throws, nothing piles up, and everything goes on afterwards', async (t) => {
  const { redis, open } = await world(t);
  const { queue: sender, observer } = await open();
  const { queue: receiver } = await open();
  const work = new CountedWork();
  receiver.onWake(work.run);
  await delivers(sender, work);
  redis.pause();
  // The world's own time: Redis is away for as long as the promise says.
  const away = sleep(10_000, 'over');
  let wakes = 0;
  let state = 'away';
  void away.then((over) => {
    state = over;
  });
  while (state === 'away') {
    await Promise.all(Array.from({ length: 1_000 }, (_, index) => sender.wake(`batch-${wakes + index}`)));
    await sender.announceEnded(Array.from({ length: 1_000 }, (_, index) => `batch-${wakes + index}`));
    wakes += 1_000;
    await sleep(20);
  }
  t.true(observer.handoversFailed.includes('wake'));
  t.not(sender.trouble(), null);
  const before = work.ended;
  redis.resume();
  await works(sender);
  await until(() => work.ended > before, { what: 'a wake-up arrives after the pause' });
  await delivers(sender, work);
  const waiting = Number(await redis.command('LLEN', 'fcr:wake:wait'));
  t.true(waiting <= 1, `${waiting} wake-ups wait`);
});

test('HAZARDS 7: Redis out of memory: wake-ups are counted as failed, readiness tells why, and it recovers by itself', async (t) => {
  const { redis, open } = await world(t);
  const { queue, observer } = await open();
  const work = new CountedWork();
  queue.onWake(work.run);
  await delivers(queue, work);
  await redis.command('CONFIG', 'SET', 'maxmemory', '1');
  await fails(queue);
  t.regex(queue.trouble() ?? '', /OOM/);
  await queue.wake('no-room');
  t.true(observer.handoversFailed.includes('wake'));
  await redis.command('CONFIG', 'SET', 'maxmemory', '0');
  await works(queue);
  await delivers(queue, work);
});

test('A Redis that evicts is told by name in readiness, and still used', async (t) => {
  const { redis, open } = await world(t);
  const { queue } = await open();
  const work = new CountedWork();
  queue.onWake(work.run);
  await redis.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
  await fails(queue);
  t.is(queue.trouble(), 'Redis has maxmemory-policy allkeys-lru; it must be noeviction');
  await delivers(queue, work);
});

test('HAZARDS 7: A worker that is killed in the middle of a run loses its wake-up to another one', async (t) => {
  const { redis, open } = await world(t);
  const lockMs = 1_000;
  const script = new URL('../support/fixtures/wake-worker.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [script, redis.url, 'fcr', String(lockMs)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  let said = '';
  child.stdout.on('data', (data) => {
    said += String(data);
  });
  const { queue } = await open(lockMs);
  await queue.wake('batch');
  await until(() => said.includes('took'), { what: 'the worker took the wake-up' });
  child.kill('SIGKILL');
  await once(child, 'exit');
  const work = new CountedWork();
  queue.onWake(work.run);
  await until(() => work.ended === 1, { what: 'the wake-up of the dead worker comes back' });
  t.is(await queue.depth(), 0);
});

test('HAZARDS 7: A wake-up during a run of one process is taken by another one', async (t) => {
  const { open } = await world(t);
  const { queue: first } = await open();
  const { queue: second } = await open();
  const held = new CountedWork();
  held.hold();
  const free = new CountedWork();
  first.onWake(held.run);
  await first.wake('one');
  await until(() => held.started === 1, { what: 'the first process runs' });
  second.onWake(free.run);
  await first.wake('two');
  await until(() => free.ended === 1, { what: 'the second process runs' });
  t.is(held.ended, 0);
  held.release();
});

test('HAZARDS 7: Jobs leave nothing behind in Redis, whether work succeeds or fails', async (t) => {
  const { redis, open } = await world(t);
  const { queue } = await open();
  let runs = 0;
  queue.onWake(async () => {
    runs += 1;
    if (runs % 2 === 0) throw new Error('not this time');
  });
  for (let round = 1; round <= 20; round += 1) {
    await queue.wake('batch');
    await until(() => runs >= round, { what: `run ${round}` });
  }
  const jobs = async () => (await redis.command('KEYS', 'fcr:wake:batch-*')) as readonly string[];
  await until(async () => (await jobs()).length === 0, { what: 'no job is kept' });
  t.is(await redis.command('ZCARD', 'fcr:wake:failed'), 0);
  t.is(await redis.command('ZCARD', 'fcr:wake:completed'), 0);
});

test('Closing ends every connection, and ends also when Redis is away or does not answer', async (t) => {
  const { redis, open } = await world(t);
  const opened = async () => {
    const { queue } = await open();
    queue.onWake(async () => undefined);
    queue.onEnded(() => undefined);
    return queue;
  };
  const others = async () =>
    String(await redis.command('CLIENT', 'LIST'))
      .trim()
      .split('\n').length - 1;
  await (await opened()).close();
  await until(async () => (await others()) === 0, { what: 'no connection is left' });
  const whilePaused = await opened();
  redis.pause();
  await whilePaused.close();
  redis.resume();
  await until(async () => (await others()) === 0, { what: 'no connection is left' });
  const whileAway = await opened();
  await redis.kill();
  await whileAway.close();
  await redis.restart();
  t.is(await others(), 0);
});
