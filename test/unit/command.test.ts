import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import test from 'ava';
import { CommandError, runCommand } from '../../src/system/command.ts';
import { readTextOrNull } from '../../src/system/durable-file.ts';
import { scratchDirectory } from '../support/local-storage-node.ts';

test.serial(
  'a program that leaves a daemon on its output overruns, and leaves neither a zombie nor open pipes',
  async (t) => {
    const directory = await scratchDirectory(t);
    const [program, daemon] = [join(directory, 'program'), join(directory, 'daemon')];
    const script = `echo $$ > ${program}; setsid sh -c 'echo $$ > ${daemon}; exec sleep 600' & until test -s ${daemon}; do :; done`;
    const pidIn = async (path: string) => Number(await readTextOrNull(path));
    t.teardown(async () => process.kill(await pidIn(daemon), 'SIGKILL'));
    const before = openPipes();
    const error = await t.throwsAsync(runCommand(['sh', '-c', script], { deadlineMs: 2_000 }), {
      instanceOf: CommandError,
    });
    t.is(error?.end.reason, 'overran');
    t.is(await readTextOrNull(`/proc/${await pidIn(program)}/stat`), null);
    await until(() => openPipes() === before);
    t.is(openPipes(), before);
  },
);

test.serial('a program for which there are too few descriptors is not started, and none is lost', async (t) => {
  const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? '';
  const setLimit = (count: string) => execFileSync('prlimit', [`--pid=${process.pid}`, `--nofile=${count}:`]);
  setLimit('256');
  let taken: number[] = [];
  try {
    taken = takeDescriptors();
    for (const descriptor of taken.splice(0, 3)) closeSync(descriptor);
    const error = await t.throwsAsync(runCommand(['true'], { deadlineMs: 30_000 }), { instanceOf: CommandError });
    t.is(error?.end.reason, 'not-started');
    await nextTurn();
    const left = takeDescriptors();
    taken.push(...left);
    t.is(left.length, 3);
  } finally {
    for (const descriptor of taken) closeSync(descriptor);
    setLimit(limit);
  }
});

/** All that the limit leaves. */
function takeDescriptors(): number[] {
  const taken: number[] = [];
  for (;;) {
    try {
      taken.push(openSync('/dev/null', 'r'));
    } catch {
      return taken;
    }
  }
}

function openPipes(): number {
  return readdirSync('/proc/self/fd').filter((name) => linkOf(`/proc/self/fd/${name}`).startsWith('pipe:')).length;
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await nextTurn();
}

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
