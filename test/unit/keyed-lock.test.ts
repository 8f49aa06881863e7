import test from 'ava';
import { Failure } from '../../src/domain/errors.ts';
import { KeyedLock } from '../../src/system/keyed-lock.ts';

test('holders of one key follow each other in order, other keys do not wait', async (t) => {
  const lock = new KeyedLock();
  const order: string[] = [];
  const first = await lock.acquire('a', 10_000);
  const second = lock.run('a', 10_000, async () => order.push('second'));
  const third = lock.run('a', 10_000, async () => order.push('third'));
  await lock.run('b', 10_000, async () => order.push('other'));
  first();
  await Promise.all([second, third]);
  t.deepEqual(order, ['other', 'second', 'third']);
  t.is(lock.size, 0);
});

test('who waits too long is told, and those behind still wait for the holder', async (t) => {
  const lock = new KeyedLock();
  const release = await lock.acquire('a', 10_000);
  const failure = await t.throwsAsync(lock.acquire('a', 5), { instanceOf: Failure });
  t.is(failure?.code, 'deadline-exceeded');
  let ran = false;
  const later = lock.run('a', 10_000, async () => {
    ran = true;
  });
  await Promise.resolve();
  t.false(ran);
  release();
  await later;
  t.true(ran);
  t.true(lock.isFree('a'));
});

test('a failure releases the key', async (t) => {
  const lock = new KeyedLock();
  await t.throwsAsync(
    lock.run('a', 10_000, async () => {
      throw new Error('planned');
    }),
  );
  t.is(await lock.run('a', 10_000, async () => 1), 1);
});
