/**
 * Runs a program: an argument array (no shell), the C locale, a deadline, killed with everything it started when it
 * overruns. Its failure tells argv, exit code, signal and the end of stderr.
 *
 * Descriptors in `inherit` stay open in the program as 3, 4 ...: a flock on one is held until the program has ended, even
 * when this process is killed first.
 */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { limits } from '../config/limits.ts';

export interface CommandOptions {
  readonly deadlineMs: number;
  readonly inherit?: readonly number[];
}

export interface CommandOutput {
  readonly stdout: string;
}

/** As a parameter of everything that runs programs. */
export type RunCommand = (argv: readonly string[], options: CommandOptions) => Promise<CommandOutput>;

export interface CommandEnd {
  readonly argv: readonly string[];
  /** `absent`: there is no such program. `overran`: it was killed at its deadline. */
  readonly reason: 'absent' | 'exit' | 'signal' | 'overran' | 'not-started';
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stderrTail: string;
}

export class CommandError extends Error {
  readonly end: CommandEnd;

  constructor(end: CommandEnd, options?: ErrorOptions) {
    super(describe(end), options);
    this.name = 'CommandError';
    this.end = end;
  }
}

export const runCommand: RunCommand = (argv, options) =>
  new Promise((resolve, reject) => {
    const child = start(argv, options);
    const stdout = collectTail(child.stdout);
    const stderr = collectTail(child.stderr);
    const fail = (how: Pick<CommandEnd, 'reason'> & Partial<CommandEnd>, cause?: unknown) =>
      reject(new CommandError({ argv, exitCode: null, signal: null, stderrTail: stderr(), ...how }, { cause }));
    const deadline = killAtDeadline(child, options.deadlineMs, () => fail({ reason: 'overran' }));
    child.once('error', (cause) => {
      deadline.clear();
      const absent = 'code' in cause && cause.code === 'ENOENT';
      fail({ reason: absent ? 'absent' : 'not-started', stderrTail: cause.message }, cause);
    });
    child.once('close', (exitCode, signal) => {
      deadline.clear();
      if (deadline.overran()) fail({ reason: 'overran', exitCode, signal });
      else if (exitCode === 0) resolve({ stdout: stdout() });
      else fail({ reason: signal === null ? 'exit' : 'signal', exitCode, signal });
    });
  });

function start([program = '', ...args]: readonly string[], options: CommandOptions): ChildProcess {
  const stdio: StdioOptions = ['ignore', 'pipe', 'pipe', ...(options.inherit ?? [])];
  return spawn(program, args, { stdio, env: { PATH: commandPath, LC_ALL: 'C', LANG: 'C' }, detached: true });
}

/** A program that does not die of SIGKILL in time (it sleeps in the kernel) is given up; it keeps what it inherited. */
function killAtDeadline(child: ChildProcess, deadlineMs: number, giveUp: () => void) {
  let overran = false;
  let timer = setTimeout(() => {
    overran = true;
    killGroup(child);
    timer = setTimeout(giveUp, limits.commandKillGraceMs);
  }, deadlineMs);
  return { overran: () => overran, clear: () => clearTimeout(timer) };
}

const commandPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The program leads a process group of its own, so that what it started goes with it. */
function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    child.kill('SIGKILL');
  }
}

function collectTail(stream: NodeJS.ReadableStream | null): () => string {
  let text = '';
  stream?.setEncoding('utf8');
  stream?.on('data', (part: string) => {
    text = (text + part).slice(-limits.commandOutputCharacters);
  });
  return () => text;
}

function describe({ argv, reason, exitCode, signal, stderrTail }: CommandEnd): string {
  const how = { absent: 'is not installed', 'not-started': 'did not start', overran: 'overran its deadline' };
  const what =
    reason === 'exit' ? `ended with ${exitCode}` : reason === 'signal' ? `was ended by ${signal}` : how[reason];
  return `${argv.join(' ')} ${what}${stderrTail === '' ? '' : `: ${stderrTail.trim()}`}`;
}
