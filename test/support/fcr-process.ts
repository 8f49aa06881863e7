/** One long-running `fcr` program as a process of its own, which can be killed, told to end, and started again. */
import { join, resolve } from 'node:path';
import { Daemon, until } from './daemon.ts';

const root = resolve(import.meta.dirname, '../..');

export interface FcrProcessOptions {
  /** For its log; of this process alone. */
  readonly directory: string;
  readonly words: readonly string[];
  /** Without FCR_. */
  readonly settings: Readonly<Record<string, string>>;
  /** What runs the program, such as a namespace of its own. */
  readonly within?: readonly string[];
}

export class FcrProcess {
  readonly #options: FcrProcessOptions;
  #daemon: Daemon | null = null;

  constructor(options: FcrProcessOptions) {
    this.#options = options;
  }

  /** `isUp` is asked until it says so; an error means "not yet". */
  async start(isUp: () => Promise<unknown>): Promise<void> {
    this.run();
    const answers = () =>
      isUp().then(
        () => true,
        () => false,
      );
    const what = `fcr ${this.#options.words.join(' ')} is up`;
    await until(async () => this.#assertAlive() && (await answers()), { what, timeoutMs: 60_000, everyMs: 20 });
  }

  run(): void {
    const { directory, words, settings, within = [] } = this.#options;
    const environment = Object.entries(settings).map(([name, value]) => `FCR_${name}=${value}`);
    const program = [process.execPath, join(root, 'src/bin/fcr.ts'), ...words];
    this.#daemon = new Daemon(directory, {
      argv: ['env', ...environment, ...within, ...program],
      parentDeathSignal: 'KILL',
      logFile: join(directory, 'log'),
    });
  }

  /** SIGSTOP makes it silent, SIGCONT lets it speak again. */
  signal(signal: NodeJS.Signals): void {
    this.#daemon?.signal(signal);
  }

  /** Resolves once the kernel says that it is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#daemon?.signal(signal);
    await this.ended();
  }

  async ended(): Promise<void> {
    const ended = (await this.#daemon?.exited(30_000)) ?? true;
    if (!ended) throw new Error(`fcr ${this.#options.words.join(' ')} did not end:\n${this.log}`);
  }

  get log(): string {
    return this.#daemon?.logTail ?? '';
  }

  #assertAlive(): true {
    if (this.#daemon?.alive === true) return true;
    throw new Error(`fcr ${this.#options.words.join(' ')} ended:\n${this.log}`);
  }
}
