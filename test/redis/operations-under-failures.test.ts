import test from 'ava';
import { survivesFailuresOfRedis } from '../contract/redis-failures-suite.ts';

test('HAZARDS 7: Redis killed, restarted empty, flushed and paused for 10 s under load: all that was accepted ends, once', async (t) => {
  await survivesFailuresOfRedis(t);
});
