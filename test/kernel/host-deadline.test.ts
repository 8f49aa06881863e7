/** HAZARDS 1, the host's part: a call that is stuck in the kernel never lands beside a newer one of the same volume. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { at, refused } from '../contract/host-contract.ts';
import { testOf } from '../support/groups.ts';
import { LinuxHostHarness, makeSparseFile } from '../support/linux-host-harness.ts';

const test = testOf('kernel').serial;

test('HAZARDS 1: a stuck mount keeps its volume locked until it returns; other volumes go on', async (t) => {
  const harness = await LinuxHostHarness.make(t, { callDeadlineMs: 8_000, lockDeadlineMs: 300 });
  const [stuck, other] = [harness.makeTarget(), harness.makeTarget()];
  const device = await harness.host.attach(stuck);
  await harness.host.format(device, stuck, 'ext4');
  const frozen = freezableFilesystem(t, harness);
  execFileSync('fsfreeze', ['--freeze', frozen]);
  const path = join(frozen, 'data');
  await refused(t, 'deadline-exceeded', () => harness.host.mount(device, stuck, at(path)));
  await refused(t, 'deadline-exceeded', () => harness.host.detach(stuck));
  await t.notThrowsAsync(harness.host.attach(other));
  execFileSync('fsfreeze', ['--unfreeze', frozen]);
  await waitUntil(t, () => readFileSync('/proc/mounts', 'utf8').includes(` ${path} `));
  await harness.host.mount(device, stuck, at(path));
  t.is((await harness.host.detach(stuck)).kind, 'gone');
  await harness.host.detach(other);
  t.deepEqual((await harness.host.inventory()).devices, []);
});

/** An own small filesystem, in which every change of a directory can be made to wait. */
function freezableFilesystem(t: ExecutionContext, harness: LinuxHostHarness): string {
  const image = join(harness.directory, 'freezable.img');
  const path = join(harness.directory, 'freezable');
  makeSparseFile(image, 16 * 1024 * 1024);
  execFileSync('mkfs.ext4', ['-q', '-F', image]);
  mkdirSync(path);
  execFileSync('mount', ['-o', 'loop', image, path]);
  t.teardown(() => {
    try {
      execFileSync('fsfreeze', ['--unfreeze', path], { stdio: 'ignore' });
    } catch {
      // The test itself has done it.
    }
  });
  return path;
}

async function waitUntil(t: ExecutionContext, isSo: () => boolean): Promise<void> {
  const end = performance.now() + 30_000;
  while (!isSo() && performance.now() < end) await sleep(10);
  t.true(isSo());
}
