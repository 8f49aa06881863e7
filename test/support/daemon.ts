import assert from 'node:assert';
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * One real server as a child of one test file, with a directory of its own.
 *
 * The kernel ends it when the test process dies (PR_SET_PDEATHSIG by setpriv), an exit hook does so earlier, and
 * directories that a killed test process left behind are swept by the next one. Processes are signalled by pid only.
 */
export interface DaemonOptions {
  readonly argv: readonly [string, ...string[]];
  /** The user to run as; only where the test itself is root. */
  readonly user?: string;
  /** What the kernel sends when the test process dies. */
  readonly parentDeathSignal: 'KILL' | 'QUIT';
  readonly logFile: string;
}

const directoryPrefix = 'fcr-test-';
const live = new Map<string, Daemon | null>();

process.once('exit', () => {
  for (const [directory, daemon] of live) {
    daemon?.endNow();
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  }
});

export class Daemon {
  readonly #child: ChildProcess;
  readonly #options: DaemonOptions;
  readonly #exited: Promise<void>;
  #alive = true;

  constructor(directory: string, options: DaemonOptions) {
    this.#options = options;
    const log = openSync(options.logFile, 'a', 0o644);
    const argv = commandAs(options.user, options.argv, options.parentDeathSignal);
    this.#child = spawn('setpriv', argv, { stdio: ['ignore', log, log], cwd: '/' });
    closeSync(log);
    this.#child.unref();
    this.#exited = new Promise((resolve) => {
      const ended = () => {
        this.#alive = false;
        resolve();
      };
      this.#child.once('exit', ended);
      this.#child.once('error', ended);
    });
    live.set(directory, this);
  }

  get pid(): number {
    const pid = this.#child.pid;
    assert(pid !== undefined, 'the server could not be started');
    return pid;
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** The end of its log, for the message of a failure. */
  get logTail(): string {
    return readFileSync(this.#options.logFile, 'utf8').trim().split('\n').slice(-20).join('\n');
  }

  /** Its direct children, by the kernel's word. */
  children(): readonly number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => parentOf(pid) === this.pid);
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#alive) signalPid(this.pid, signal);
  }

  async exited(timeoutMs: number): Promise<boolean> {
    const timer = new AbortController();
    const late = sleep(timeoutMs, false, { signal: timer.signal }).catch(() => false);
    const ended = await Promise.race([this.#exited.then(() => true), late]);
    timer.abort();
    return ended;
  }

  endNow(): void {
    this.signal('SIGCONT');
    this.signal(this.#options.parentDeathSignal === 'QUIT' ? 'SIGQUIT' : 'SIGKILL');
  }
}

/** A process that is gone already is what its killer wanted. */
export function signalPid(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

export function isRunning(pid: number): boolean {
  const state = statOf(pid)?.at(0);
  return state !== undefined && state !== 'Z';
}

/** Makes the directory of one server, and removes those of test processes that were killed. */
export function daemonDirectory(kind: string): string {
  sweepDirectories(kind);
  const directory = mkdtempSync(join(tmpdir(), `${directoryPrefix}${kind}-${process.pid}-`));
  live.set(directory, null);
  return directory;
}

export function removeDaemonDirectory(directory: string): void {
  live.delete(directory);
  rmSync(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
}

export interface PollOptions {
  readonly what: string;
  readonly timeoutMs?: number;
  readonly everyMs?: number;
}

/** Waits for a state. Throws, naming it, when it has not come in time. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  { what, timeoutMs = 15_000, everyMs = 10 }: PollOptions,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await sleep(everyMs);
  }
}

/** `setpriv` is util-linux, which every Debian has. */
export function commandAs(user: string | undefined, argv: readonly string[], deathSignal: string): string[] {
  const as = user === undefined ? [] : [`--reuid=${user}`, `--regid=${user}`, '--init-groups'];
  return [...as, '--pdeathsig', deathSignal, '--', ...argv];
}

function sweepDirectories(kind: string): void {
  const pattern = new RegExp(`^${directoryPrefix}${kind}-(\\d+)-`);
  for (const name of readdirSync(tmpdir())) {
    const owner = pattern.exec(name)?.[1];
    if (owner !== undefined && !isRunning(Number(owner))) {
      rmSync(join(tmpdir(), name), { recursive: true, force: true, maxRetries: 3 });
    }
  }
}

function parentOf(pid: number): number | undefined {
  const parent = statOf(pid)?.at(1);
  return parent === undefined ? undefined : Number(parent);
}

/** Fields of proc_pid_stat(5) from the state on; the name before it may hold blanks and parentheses. */
function statOf(pid: number): readonly string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}
