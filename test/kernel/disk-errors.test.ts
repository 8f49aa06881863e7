/** What a disk that refuses makes of the volumes on it, all the way: a file of its own kind that the kernel lets nobody change. */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { Failure } from '../../src/domain/errors.ts';
import { until } from '../support/daemon.ts';
import { testOf } from '../support/groups.ts';
import { quietly } from '../support/linux-host-harness.ts';
import { StandaloneMachine } from '../support/standalone-machine.ts';

const test = testOf('kernel').serial;

/** Until the test ends, or the answer is called. */
function refuseChanges(t: ExecutionContext, path: string): () => void {
  execFileSync('chattr', ['+i', path]);
  t.teardown(() => quietly('chattr', ['-i', path]));
  return () => execFileSync('chattr', ['-i', path]);
}

test('a returned volume whose medium cannot be written is quarantined, its pool filled again, and it is free once it is mended and cleared', async (t) => {
  t.timeout(240_000);
  const machine = await StandaloneMachine.start(t, { RECONCILE_WIPE: '200ms' });
  const { controller } = machine;
  const pool = async () => (await controller.poolGet('default'))?.status;
  await until(async () => (await pool())?.free === 2, { what: 'the pool is full', timeoutMs: 60_000 });
  const { id } = await controller.volumeCreate({ name: 'data' });
  const volumes = join(machine.directory, 'data', 'volumes');
  const [medium = ''] = readdirSync(volumes).filter((name) => name.startsWith(id));
  const mend = refuseChanges(t, join(volumes, medium));
  await controller.volumeDelete('data');
  await until(async () => (await controller.volumeGet(id))?.state === 'failed', {
    what: 'it is quarantined',
    timeoutMs: 180_000,
  });
  t.regex((await controller.volumeGet(id))?.failureReason ?? '', /^device-error: .*EPERM.* \(10 attempts failed\)$/);
  t.like(await pool(), { free: 2, wiping: 0, failed: 1 });
  t.regex(machine.logTail, /One volume could not be wiped: .*EPERM/);
  mend();
  await controller.volumeClear(id);
  await until(async () => (await controller.volumeGet(id))?.state === 'free', {
    what: 'it is free',
    timeoutMs: 60_000,
  });
  t.like(await controller.volumeGet(id), { failureReason: null });
});

test('a volume that the disk does not take is the storage’s fault, leaves nothing, and is made once the disk takes it', async (t) => {
  const machine = await StandaloneMachine.start(t);
  const { controller, transport } = machine;
  const mend = refuseChanges(t, join(machine.directory, 'data', 'volumes'));
  const body = { name: 'large', sizeBytes: 128 * 1024 * 1024 };
  const create = { method: 'POST', path: '/v1/volumes', body, repeatable: false } as const;
  const refused = await t.throwsAsync(transport.call(create), { instanceOf: Failure });
  t.is(refused.code, 'storage-failed');
  t.regex(refused.message, /^Storage node "[^"]+" could not make the volume .* the log of its controller/);
  t.notRegex(refused.message, /EPERM|\/volumes/);
  t.regex(machine.logTail, /an effect could not be carried out/);
  t.regex(machine.logTail, /EPERM/);
  t.is(await controller.volumeGet('large'), null);
  mend();
  t.like((await transport.call(create)).body, { name: 'large', state: 'allocated' });
});
