import { fstatSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { Failure } from '../../src/domain/errors.ts';
import { KernelGate } from '../../src/host/linux/kernel-gate.ts';
import { BlockingPool, siblingModule } from '../../src/system/blocking-pool.ts';

const moduleUrl = siblingModule(import.meta.url, '../support/fixtures/blocking-functions');

async function gateOf(t: ExecutionContext, replacements: number): Promise<KernelGate> {
  const pool = new BlockingPool({ moduleUrl, threads: 1, replacements });
  await pool.run('add', [1, 1], { deadlineMs: 60_000 });
  const gate = new KernelGate({ pool, callDeadlineMs: 1_000, lockDeadlineMs: 300 });
  t.teardown(() => gate.close());
  return gate;
}

async function failureOf(t: ExecutionContext, call: Promise<unknown>): Promise<string | undefined> {
  return (await t.throwsAsync(call, { instanceOf: Failure }))?.code;
}

test('HAZARDS 1: a lock is kept until the late call under it has returned, and its answer is taken care of', async (t) => {
  const gate = await gateOf(t, 2);
  const flag = new Int32Array(new SharedArrayBuffer(4));
  const cared = Promise.withResolvers<number>();
  const late = gate.underLocks(['a', 'b'], (call) => call<number>('blockUntilSet', flag, { onLate: cared.resolve }));
  t.is(await failureOf(t, late), 'deadline-exceeded');
  t.is(
    await failureOf(
      t,
      gate.underLocks(['a'], async () => 1),
    ),
    'deadline-exceeded',
  );
  t.is(
    await failureOf(
      t,
      gate.underLocks(['b'], async () => 1),
    ),
    'deadline-exceeded',
  );
  t.is(await gate.underLocks(['c'], async () => 1), 1);
  Atomics.store(flag, 0, 7);
  Atomics.notify(flag, 0);
  t.is(await cared.promise, 7);
  t.is(await gate.underLocks(['a', 'b'], async () => 2), 2);
});

test('a refused system call becomes a device error that says what was refused', async (t) => {
  const gate = await gateOf(t, 1);
  const call = gate.underLocks(['a'], (run) => run('failSystemCall', null));
  const failure = await t.throwsAsync(call, { instanceOf: Failure });
  t.deepEqual([failure?.code, failure?.message], ['device-error', 'ioctl LOOP_CLR_FD: EBUSY']);
  t.true(gate.isFree('a'));
});

test('a descriptor that no thread could close in time is closed later', async (t) => {
  const gate = await gateOf(t, 0);
  const flag = new Int32Array(new SharedArrayBuffer(4));
  const descriptor = openSync('/dev/null', 'r');
  const stuck = gate.underLocks([], (call) => call('blockUntilSet', flag));
  t.is(await failureOf(t, stuck), 'deadline-exceeded');
  t.is(await failureOf(t, gate.discard([descriptor])), 'deadline-exceeded');
  t.notThrows(() => fstatSync(descriptor));
  Atomics.store(flag, 0, 1);
  Atomics.notify(flag, 0);
  await waitUntilClosed(t, gate, descriptor);
});

/** The retry stands in the queue before any call that comes now. */
async function waitUntilClosed(t: ExecutionContext, gate: KernelGate, descriptor: number): Promise<void> {
  for (let attempt = 0; attempt < 20; attempt += 1) {
    await gate.underLocks([], (call) => call('closeDescriptors', [])).catch(() => {});
    if (isClosed(descriptor)) break;
  }
  t.true(isClosed(descriptor));
}

function isClosed(descriptor: number): boolean {
  try {
    fstatSync(descriptor);
    return false;
  } catch {
    return true;
  }
}

test('a descriptor that is being closed is closed before the gate is', async (t) => {
  const gate = await gateOf(t, 0);
  const path = new URL(import.meta.url).pathname;
  const descriptor = openSync(path, 'r');
  t.true(openPaths().includes(path));
  const discarded = gate.discard([descriptor]);
  await gate.close();
  t.false(openPaths().includes(path));
  await discarded;
});

function openPaths(): readonly string[] {
  return readdirSync('/proc/self/fd').flatMap((descriptor) => {
    try {
      return [readlinkSync(`/proc/self/fd/${descriptor}`)];
    } catch {
      return [];
    }
  });
}
