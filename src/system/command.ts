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
  const program = await Program.start(argv, options);
  const end = await program.ended(options.deadlineMs);
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

  private constructor(argv: readonly string[], pid: number, output: OutputTail, errors: OutputTail) {
    this.#argv = argv;
    this.#pid = pid;
    this.#output = output;
    this.#errors = errors;
  }

  static async start(argv: readonly string[], { inherit = [] }: CommandOptions): Promise<Program> {
    const path = await pathOf(argv);
    const output = openPipe();
    const errors = openPipe();
    const descriptors = [output.writeEnd, errors.writeEnd, ...inherit];
    const tails = [new OutputTail(output.readEnd), new OutputTail(errors.readEnd)] as const;
    try {
      return new Program(argv, await spawnProgram({ path, argv, environment, descriptors }), ...tails);
    } catch (cause) {
      const reason = systemCodeOf(cause) === 'ENOENT' ? 'absent' : 'not-started';
      throw new CommandError({ ...unstarted(argv, reason), stderrTail: String(cause) }, { cause });
    } finally {
      closeSync(output.writeEnd);
      closeSync(errors.writeEnd);
    }
  }

  get stdout(): string {
    return this.#output.text;
  }

  /** A program that does not die of SIGKILL in time (it sleeps in the kernel) is given up; it keeps what it inherited. */
  ended(deadlineMs: number): Promise<CommandEnd> {
    return new Promise((resolve, reject) => {
      let overran = false;
      const answer = (end: Pick<CommandEnd, 'reason'> & Partial<CommandEnd>) => {
        clearTimeout(timer);
        resolve({ argv: this.#argv, exitCode: null, signal: null, stderrTail: this.#errors.text, ...end });
      };
      let timer = setTimeout(() => {
        overran = true;
        this.#kill();
        timer = setTimeout(() => answer({ reason: 'overran' }), limits.commandKillGraceMs);
      }, deadlineMs);
      this.#reaped()
        .then(({ exitCode, signal: number }) => {
          const signal = number === null ? null : signalName(number);
          const reason = overran ? 'overran' : signal === null ? 'exit' : 'signal';
          answer({ reason, exitCode, signal });
        })
        .catch(reject);
    });
  }

  /** It has ended when nothing holds its output any more and the kernel says so; mostly both are one moment. */
  async #reaped(): Promise<ProgramEnd> {
    await Promise.all([this.#output.ended, this.#errors.ended]);
    for (let pauseMs = 1; ; pauseMs = Math.min(2 * pauseMs, limits.commandReapPauseMs)) {
      const end = reapProgram(this.#pid);
      if (end !== null) return end;
      await sleep(pauseMs);
    }
  }

  #kill(): void {
    try {
      process.kill(-this.#pid, 'SIGKILL');
    } catch (error) {
      if (systemCodeOf(error) !== 'ESRCH') throw error;
    }
  }
}

/** The end of what comes out of a pipe. */
class OutputTail {
  readonly ended: Promise<void>;
  #text = '';

  constructor(readEnd: number) {
    const stream = new Socket({ fd: readEnd, readable: true, writable: false });
    stream.setEncoding('utf8');
    stream.on('data', (part: string) => {
      this.#text = (this.#text + part).slice(-limits.commandOutputCharacters);
    });
    stream.on('error', () => undefined);
    this.ended = new Promise((resolve) => stream.once('close', () => resolve()));
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
