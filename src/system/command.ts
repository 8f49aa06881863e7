/**
 * Runs a program: an argument array (no shell), the C locale, a deadline, killed with everything it started when it
 * overruns. Its failure tells argv, exit code, signal and the end of stderr.
 *
 * Descriptors in `inherit` stay open in the program as 3, 4 ...: a flock on one is held until the program has ended, even
 * when this process is killed first.
 */
import { closeSync } from 'node:fs';
import { access, constants } from 'node:fs/promises';
import { Socket } from 'node:net';
import { constants as osConstants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openPipe, type ProgramEnd, reapProgram, spawnProgram } from '../../native-bindings/spawn.ts';
import { limits } from '../config/limits.ts';
import { systemCodeOf } from './system-call-error.ts';

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

export const runCommand: RunCommand = async (argv, options) => {
  const deadline = performance.now() + options.deadlineMs;
  const program = await Program.start(argv, options);
  const end = await program.ended(deadline);
  if (end.reason === 'exit' && end.exitCode === 0) return { stdout: program.stdout };
  throw new CommandError(end);
};

const commandPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const environment = { PATH: commandPath, LC_ALL: 'C', LANG: 'C' };

/** A running program: it leads a process group of its own, so that what it started goes with it. */
class Program {
  readonly #argv: readonly string[];
  readonly #pid: number;
  readonly #output: OutputTail;
  readonly #errors: OutputTail;
  #end: ProgramEnd | null = null;
  #reaping: Promise<ProgramEnd> | null = null;

  private constructor(argv: readonly string[], pid: number, output: OutputTail, errors: OutputTail) {
    this.#argv = argv;
    this.#pid = pid;
    this.#output = output;
    this.#errors = errors;
  }

  static async start(argv: readonly string[], { inherit = [] }: CommandOptions): Promise<Program> {
    const path = await pathOf(argv);
    const opened: OpenOutput[] = [];
    try {
      const [output, errors] = [openOutput(opened), openOutput(opened)];
      const descriptors = [output.writeEnd, errors.writeEnd, ...inherit];
      const pid = await spawnProgram({ path, argv, environment, descriptors });
      return new Program(argv, pid, output.tail, errors.tail);
    } catch (cause) {
      for (const { tail } of opened) tail.close();
      const reason = systemCodeOf(cause) === 'ENOENT' ? 'absent' : 'not-started';
      throw new CommandError({ ...unstarted(argv, reason), stderrTail: String(cause) }, { cause });
    } finally {
      for (const { writeEnd } of opened) closeSync(writeEnd);
    }
  }

  get stdout(): string {
    return this.#output.text;
  }

  /**
   * It has ended when nothing holds its output any more and the kernel says so; mostly both are one moment. A program
   * that does not die of SIGKILL in time (it sleeps in the kernel) is given up; it keeps what it inherited. So is the
   * output of one that left a daemon behind.
   */
  async ended(deadline: number): Promise<CommandEnd> {
    const silent = Promise.all([this.#output.ended, this.#errors.ended]);
    try {
      const end = await within(
        deadline - performance.now(),
        silent.then(() => this.#reaped()),
      );
      if (end !== null) return this.#told(end.signal === null ? 'exit' : 'signal', end);
      this.#kill();
      const killed = Promise.all([this.#reaped(), silent]);
      await within(limits.commandKillGraceMs, killed);
      return this.#told('overran', this.#end ?? { exitCode: null, signal: null });
    } finally {
      this.#output.close();
      this.#errors.close();
    }
  }

  #told(reason: CommandEnd['reason'], { exitCode, signal }: ProgramEnd): CommandEnd {
    const name = signal === null ? null : signalName(signal);
    return { argv: this.#argv, reason, exitCode, signal: name, stderrTail: this.#errors.text };
  }

  /** Goes on when nobody waits any more, so that no zombie stays. */
  #reaped(): Promise<ProgramEnd> {
    this.#reaping ??= this.#reap();
    return this.#reaping;
  }

  async #reap(): Promise<ProgramEnd> {
    for (let pauseMs = 1; ; pauseMs = Math.min(2 * pauseMs, limits.commandReapPauseMs)) {
      this.#end = reapProgram(this.#pid);
      if (this.#end !== null) return this.#end;
      await sleep(pauseMs, undefined, { ref: false });
    }
  }

  /** Never after it was reaped: its number may be another's by then. What may not be killed is given up. */
  #kill(): void {
    if (this.#end !== null) return;
    try {
      process.kill(-this.#pid, 'SIGKILL');
    } catch (error) {
      const code = systemCodeOf(error);
      if (code !== 'ESRCH' && code !== 'EPERM') throw error;
    }
  }
}

/** Null once the time is over. */
async function within<T>(durationMs: number, work: Promise<T>): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, durationMs, null);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

interface OpenOutput {
  readonly tail: OutputTail;
  readonly writeEnd: number;
}

/** Noted in `opened` at once: the caller closes what is in there, whatever fails next. */
function openOutput(opened: OpenOutput[]): OpenOutput {
  const { readEnd, writeEnd } = openPipe();
  try {
    const output = { tail: new OutputTail(readEnd), writeEnd };
    opened.push(output);
    return output;
  } catch (error) {
    closeSync(readEnd);
    closeSync(writeEnd);
    throw error;
  }
}

/** The end of what comes out of a pipe. */
class OutputTail {
  readonly ended: Promise<void>;
  readonly #stream: Socket;
  #text = '';

  constructor(readEnd: number) {
    const stream = new Socket({ fd: readEnd, readable: true, writable: false });
    stream.setEncoding('utf8');
    stream.on('data', (part: string) => {
      this.#text = (this.#text + part).slice(-limits.commandOutputCharacters);
    });
    stream.on('error', () => undefined);
    this.ended = new Promise((resolve) => stream.once('close', () => resolve()));
    this.#stream = stream;
  }

  close(): void {
    this.#stream.destroy();
  }

  get text(): string {
    return this.#text;
  }
}

async function pathOf(argv: readonly string[]): Promise<string> {
  const [program = ''] = argv;
  for (const directory of program.includes('/') ? [''] : commandPath.split(':')) {
    const path = join(directory, program);
    if (await isExecutable(path)) return path;
  }
  throw new CommandError({ ...unstarted(argv, 'absent'), stderrTail: `There is no program ${program}.` });
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function unstarted(argv: readonly string[], reason: CommandEnd['reason']): CommandEnd {
  return { argv, reason, exitCode: null, signal: null, stderrTail: '' };
}

function signalName(number: number): string {
  return Object.entries(osConstants.signals).find(([, value]) => value === number)?.[0] ?? `signal ${number}`;
}

function describe({ argv, reason, exitCode, signal, stderrTail }: CommandEnd): string {
  const how = { absent: 'is not installed', 'not-started': 'did not start', overran: 'overran its deadline' };
  const what =
    reason === 'exit' ? `ended with ${exitCode}` : reason === 'signal' ? `was ended by ${signal}` : how[reason];
  return `${argv.join(' ')} ${what}${stderrTail === '' ? '' : `: ${stderrTail.trim()}`}`;
}
