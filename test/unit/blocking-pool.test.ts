import test, { type ExecutionContext } from 'ava';
import { Failure } from '../../src/domain/errors.ts';
import { BlockingPool, siblingModule } from '../../src/system/blocking-pool.ts';
import { SystemCallError } from '../../src/system/system-call-error.ts';

const moduleUrl = siblingModule(import.meta.url, '../support/fixtures/blocking-functions');

function poolOf(t: ExecutionContext, threads: number, replacements = 2): BlockingPool {
  const pool = new BlockingPool({ moduleUrl, threads, replacements });
  t.teardown(() => pool.close());
  return pool;
}

function flag(): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer(4));
}

function release(each: Int32Array<SharedArrayBuffer>): void {
  Atomics.store(each, 0, 1);
  Atomics.notify(each, 0);
}

test('a call returns the value of the named function', async (t) => {
  const pool = poolOf(t, 2);
  const sums = await Promise.all([1, 2, 3, 4, 5].map((n) => pool.run<number>('add', [n, 10], { deadlineMs: 10_000 })));
  t.deepEqual(sums, [11, 12, 13, 14, 15]);
});

test('a failure crosses the thread with its code and what it relates to', async (t) => {
  const pool = poolOf(t, 1);
  const failure = await t.throwsAsync(pool.run('refuse', [], { deadlineMs: 10_000 }), { instanceOf: Failure });
  t.is(failure?.code, 'device-busy');
  t.deepEqual(failure?.problem.related, { holder: 'somebody' });
});

test('a refused system call crosses the thread with its errno, whoever made it', async (t) => {
  const pool = poolOf(t, 1);
  const own = await t.throwsAsync(pool.run('failSystemCall', [], { deadlineMs: 10_000 }), {
    instanceOf: SystemCallError,
  });
  t.deepEqual([own?.code, own?.syscall, own?.message], ['EBUSY', 'ioctl', 'ioctl LOOP_CLR_FD: EBUSY']);
  const nodes = await t.throwsAsync(pool.run('readMissing', ['/nowhere/at/all'], { deadlineMs: 10_000 }), {
    instanceOf: SystemCallError,
  });
  t.deepEqual([nodes?.code, nodes?.syscall], ['ENOENT', 'open']);
});

test('a function that is not there is an error, not a hang', async (t) => {
  const pool = poolOf(t, 1);
  await t.throwsAsync(pool.run('absent', [], { deadlineMs: 10_000 }), { message: /exports no function absent/ });
});

test('a stuck thread is counted and replaced, its caller is told, and others go on', async (t) => {
  const pool = poolOf(t, 1);
  const stuckFlag = flag();
  const returned = Promise.withResolvers<void>();
  const stuck = pool.run('blockUntilSet', [stuckFlag], { deadlineMs: 300, onLateReturn: () => returned.resolve() });
  const failure = await t.throwsAsync(stuck, { instanceOf: Failure });
  t.is(failure?.code, 'deadline-exceeded');
  t.deepEqual(pool.state, { threads: 1, stuck: 1, queued: 0 });
  t.is(await pool.run<number>('add', [1, 2], { deadlineMs: 10_000 }), 3);
  release(stuckFlag);
  await returned.promise;
  t.deepEqual(pool.state, { threads: 1, stuck: 0, queued: 0 });
});

test('replacements are bounded, and a call that found no thread never began', async (t) => {
  const pool = poolOf(t, 1, 1);
  const flags = [flag(), flag()];
  const stuck = flags.map((each) => pool.run('blockUntilSet', [each], { deadlineMs: 300 }));
  await Promise.all(stuck.map((each) => t.throwsAsync(each, { instanceOf: Failure })));
  let neverBegan = false;
  const options = {
    deadlineMs: 300,
    onLateReturn: () => {
      neverBegan = true;
    },
  };
  const failure = await t.throwsAsync(pool.run('add', [1, 2], options), { instanceOf: Failure });
  t.is(failure?.code, 'deadline-exceeded');
  t.true(neverBegan);
  for (const each of flags) release(each);
  t.is(await pool.run<number>('add', [1, 2], { deadlineMs: 10_000 }), 3);
});

test('a module that cannot be loaded fails its callers instead of hanging them', async (t) => {
  const pool = new BlockingPool({ moduleUrl: new URL('./absent.ts', import.meta.url), threads: 1, replacements: 1 });
  t.teardown(() => pool.close());
  await t.throwsAsync(pool.run('add', [1, 2], { deadlineMs: 10_000 }), { message: /absent|crashed/ });
});
