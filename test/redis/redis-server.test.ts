import { existsSync } from 'node:fs';
import test from 'ava';
import { isRunning } from '../support/daemon.ts';
import { RedisServer } from '../support/redis.ts';

test('a Redis keeps what it answered over a kill, loses it when restarted empty, and leaves nothing behind', async (t) => {
  const redis = await RedisServer.start({ port: true });
  t.teardown(() => redis.close());
  await redis.command('SET', 'key', 'value');
  await redis.restart();
  t.is(await redis.command('GET', 'key'), 'value');
  await redis.restart({ empty: true });
  t.is(await redis.command('GET', 'key'), null);
  const pid = redis.pid ?? 0;
  await redis.close();
  t.false(isRunning(pid));
  t.false(existsSync(redis.directory));
});
