import { open } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { CommandError, runCommand } from '../../src/system/command.ts';
import { readTextOrNull } from '../../src/system/durable-file.ts';
import { scratchDirectory } from '../support/local-storage-node.ts';

test('a command’s output is answered, its arguments are not a shell’s', async (t) => {
  const { stdout } = await runCommand(['printf', '%s', '$HOME; *'], { deadlineMs: 30_000 });
  t.is(stdout, '$HOME; *');
});

test('a command runs in the C locale', async (t) => {
  const { stdout } = await runCommand(['sh', '-c', 'echo $LC_ALL'], { deadlineMs: 30_000 });
  t.is(stdout.trim(), 'C');
});

test('a failure tells argv, exit code and the end of stderr', async (t) => {
  const argv = ['sh', '-c', 'echo broken >&2; exit 7'];
  const error = await t.throwsAsync(runCommand(argv, { deadlineMs: 30_000 }), { instanceOf: CommandError });
  t.like(error?.end, { argv, reason: 'exit', exitCode: 7, signal: null, stderrTail: 'broken\n' });
  t.true(error?.message.includes('broken'));
});

test('a program that is not installed is told from one that fails', async (t) => {
  const error = await t.throwsAsync(runCommand(['no-such-program'], { deadlineMs: 30_000 }), {
    instanceOf: CommandError,
  });
  t.is(error?.end.reason, 'absent');
});

test('an overrunning command is killed with everything it started', async (t) => {
  const pidFile = join(await scratchDirectory(t), 'pid');
  const argv = ['sh', '-c', `sh -c 'echo $$ > ${pidFile}; sleep 600' & wait`];
  const error = await t.throwsAsync(runCommand(argv, { deadlineMs: 2_000 }), { instanceOf: CommandError });
  t.like(error?.end, { reason: 'overran', signal: 'SIGKILL' });
  const pid = (await readTextOrNull(pidFile))?.trim();
  const state = (await readTextOrNull(`/proc/${pid}/stat`))?.split(') ')[1]?.[0] ?? 'gone';
  t.true(['gone', 'Z', 'X'].includes(state));
});

test('a program has the descriptors that it is given', async (t) => {
  const file = await open(join(await scratchDirectory(t), 'given'), 'w');
  t.teardown(() => file.close());
  const argv = ['sh', '-c', 'readlink /proc/self/fd/* 2>/dev/null; true'];
  const all = async (inherit: readonly number[]) => (await runCommand(argv, { deadlineMs: 30_000, inherit })).stdout;
  t.regex(await all([file.fd]), /\/given\n/);
  t.notRegex(await all([]), /\/given\n/);
});

test('a program ignores and blocks no signal because this process does', async (t) => {
  const { stdout } = await runCommand(['cat', '/proc/self/status'], { deadlineMs: 30_000 });
  // Those from 32 on belong to the C library.
  for (const field of ['SigBlk', 'SigIgn']) t.regex(stdout, new RegExp(`^${field}:\\t0{7}[0-9a-f][08]0{7}$`, 'm'));
});
