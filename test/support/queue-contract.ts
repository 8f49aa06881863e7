import test, { type ExecutionContext } from 'ava';
import type { Queue } from '../../src/queue/queue.ts';
import { until } from './daemon.ts';
import { CountedWork, RecordingQueueObserver } from './queue-observer.ts';

interface Context {
  readonly queue: Queue;
  readonly observer: RecordingQueueObserver;
}

/** What every queue promises. `open` makes one that shares nothing with those it made before. */
export function queueContract(open: (observer: RecordingQueueObserver) => Queue): void {
  const promise = (title: string, body: (t: ExecutionContext, c: Context) => Promise<void>) =>
    test(title, async (t) => {
      const observer = new RecordingQueueObserver();
      const queue = open(observer);
      t.teardown(() => queue.close());
      await until(() => queue.trouble() === null, { what: 'the queue works' });
      await body(t, { queue, observer });
    });

  promise('a wake-up before anybody works waits, and is counted once however often it comes', async (t, { queue }) => {
    for (let wake = 0; wake < 20; wake += 1) await queue.wake('batch');
    t.is(await queue.depth(), 1);
    const work = new CountedWork();
    queue.onWake(work.run);
    await until(() => work.ended === 1, { what: 'the wake-up is delivered' });
    await until(async () => (await queue.depth()) === 0, { what: 'no wake-up waits' });
    t.is(work.started, 1);
  });

  promise('the same batch can be woken again and again, and each time work runs', async (t, { queue }) => {
    const work = new CountedWork();
    queue.onWake(work.run);
    for (let round = 1; round <= 20; round += 1) {
      await queue.wake('batch');
      await until(() => work.ended === round, { what: `run ${round}` });
    }
    t.is(work.mostAtOnce, 1);
  });

  promise('many wake-ups during a run cost one more run', async (t, { queue }) => {
    const work = new CountedWork();
    work.hold();
    queue.onWake(work.run);
    await queue.wake('first');
    await until(() => work.started === 1, { what: 'the first run' });
    await Promise.all(Array.from({ length: 500 }, (_, index) => queue.wake(`batch-${index}`)));
    t.is(work.started, 1);
    work.release();
    await until(() => work.ended === 2, { what: 'the one more run' });
    await queue.wake('last');
    await until(() => work.ended >= 3, { what: 'the run after it' });
    await until(async () => (await queue.depth()) === 0, { what: 'no wake-up waits' });
    t.deepEqual({ started: work.started, mostAtOnce: work.mostAtOnce }, { started: 3, mostAtOnce: 1 });
  });

  promise('a wake-up for the batch that is being worked on is not ignored', async (t, { queue }) => {
    const work = new CountedWork();
    work.hold();
    queue.onWake(work.run);
    await queue.wake('batch');
    await until(() => work.started === 1, { what: 'the first run' });
    await queue.wake('batch');
    work.release();
    await until(() => work.ended === 2, { what: 'the second run' });
    t.is(work.started, 2);
  });

  promise('work that fails is reported, and the next wake-up runs it again', async (t, { queue, observer }) => {
    let runs = 0;
    queue.onWake(async () => {
      runs += 1;
      if (runs === 1) throw new Error('the store does not answer');
    });
    await queue.wake('one');
    await until(() => observer.erroredAt('wake') === 1, { what: 'the failure is reported' });
    await queue.wake('two');
    await until(() => runs === 2, { what: 'the second run' });
    t.is(observer.erroredAt('wake'), 1);
  });

  promise('what is nudged is told to every listener, also behind one that throws at first', async (t, c) => {
    const told: (readonly string[])[] = [];
    let throws = true;
    c.queue.onNudge(() => {
      if (throws) throw new Error('a listener with a bug');
    });
    c.queue.onNudge((names) => told.push(names));
    const isReported = async () => {
      await c.queue.nudge(['pool-refill', 'volume-wipe']);
      return c.observer.erroredAt('nudge-listener') > 0;
    };
    await until(isReported, { what: 'the failure is reported' });
    throws = false;
    await c.queue.nudge(['pool-refill', 'volume-wipe']);
    await until(() => told.length > 0, { what: 'it is told' });
    t.deepEqual(told[0], ['pool-refill', 'volume-wipe']);
  });

  promise('ended batches are told once a tick to every listener, also when one of them throws', async (t, c) => {
    const told: (readonly string[])[] = [];
    c.queue.onEnded(() => {
      throw new Error('a listener with a bug');
    });
    c.queue.onEnded((ids) => told.push(ids));
    await Promise.all([
      c.queue.announceEnded(['a', 'b']),
      c.queue.announceEnded(['b', 'c']),
      c.queue.announceEnded([]),
    ]);
    t.deepEqual(told, [['a', 'b', 'c']]);
    t.is(c.observer.erroredAt('ended-listener'), 1);
  });

  promise('closing waits for the run under way, and nothing runs afterwards', async (t, { queue }) => {
    const work = new CountedWork();
    work.hold();
    queue.onWake(work.run);
    await queue.wake('batch');
    await until(() => work.started === 1, { what: 'a run is under way' });
    const closed = queue.close();
    t.is(work.ended, 0);
    work.release();
    await closed;
    t.is(work.ended, 1);
    await queue.wake('late');
    await queue.announceEnded(['late']);
    t.is(work.started, 1);
  });
}
