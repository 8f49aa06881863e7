import { Redis } from 'ioredis';
import { BullMqQueue } from '../src/queue/bullmq/bullmq-queue.ts';
import { InProcessQueue } from '../src/queue/in-process/in-process-queue.ts';
import type { Queue, QueueObserver } from '../src/queue/queue.ts';
import { RedisServer } from '../test/support/redis.ts';
import { type Bench, numberOption, textOption } from './support/bench.ts';
import { Latencies } from './support/latencies.ts';

const silent: QueueObserver = { handoverFailed: () => undefined, errored: () => undefined };

/** Wakes one worker again and again, each time when the run before has ended. */
async function wakeSerially(sender: Queue, worker: Queue, rounds: number): Promise<Latencies> {
  const latencies = new Latencies();
  let arrived = Promise.withResolvers<void>();
  worker.onWake(async () => arrived.resolve());
  for (let round = 0; round < rounds; round += 1) {
    arrived = Promise.withResolvers<void>();
    await latencies.time(async () => {
      await sender.wake(`batch-${round}`);
      await arrived.promise;
    });
  }
  return latencies;
}

/** Wakes while a run is held: what the callers pay, and how many runs it costs in the end. */
async function wakeInParallel(queue: Queue, wakes: number): Promise<number> {
  const start = performance.now();
  await Promise.all(Array.from({ length: wakes }, (_, index) => queue.wake(`burst-${index}`)));
  return wakes / ((performance.now() - start) / 1_000);
}

async function roundTrips(redis: RedisServer, rounds: number): Promise<Latencies> {
  const client = new Redis({ path: redis.socketPath });
  const latencies = new Latencies();
  for (let round = 0; round < rounds; round += 1) await latencies.time(() => client.ping());
  client.disconnect();
  return latencies;
}

async function working(queue: Queue): Promise<Queue> {
  while (queue.trouble() !== null) await new Promise((resolve) => setTimeout(resolve, 5));
  return queue;
}

export const bench: Bench = {
  about:
    'from a wake-up to the start of the work, over two connections; the peer is a bare round trip to the same Redis',
  options: {
    queue: { about: 'which queue', default: 'bullmq', among: ['in-process', 'bullmq'] },
    rounds: { about: 'wake-ups, one after the other', default: 2_000 },
  },
  bounds: () => ({}),
  async run(options, progress) {
    const rounds = numberOption(options, 'rounds');
    const redis = await RedisServer.start();
    const bullMq = textOption(options, 'queue') === 'bullmq';
    const open = () =>
      bullMq ? new BullMqQueue({ url: redis.url, observer: silent }) : new InProcessQueue({ observer: silent });
    const sender = await working(open());
    const worker = bullMq ? await working(open()) : sender;
    try {
      progress(`${rounds} wake-ups`);
      const wakes = await wakeSerially(sender, worker, rounds);
      const trips = await roundTrips(redis, rounds);
      return {
        wakeP50Ms: wakes.p50Ms,
        wakeP99Ms: wakes.p99Ms,
        roundTripP50Ms: trips.p50Ms,
        wakeToRoundTripRatio: wakes.p50Ms / trips.p50Ms,
        burstWakesPerSecond: await wakeInParallel(sender, rounds),
      };
    } finally {
      await Promise.all([sender.close(), worker.close()]);
      await redis.close();
    }
  },
};
