import test from 'ava';
import { BullMqQueue } from '../../src/queue/bullmq/bullmq-queue.ts';
import { queueContract } from '../support/queue-contract.ts';
import { RedisServer } from '../support/redis.ts';

const redis = await RedisServer.start({ port: true });
test.after.always(() => redis.close());

let opened = 0;
queueContract((observer) => {
  opened += 1;
  return new BullMqQueue({ url: redis.url, prefix: `contract${opened}`, observer });
});
