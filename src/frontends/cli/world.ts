/** Everything that the command line touches outside itself, as a parameter. */
import type { Config } from '../../config/config.ts';
import type { Loaded } from '../../config/load.ts';
import type { CommandLineSettings } from '../../config/read.ts';

export interface TextOutput {
  write(text: string): unknown;
}

export interface ProgressBar {
  update(done: number): void;
  stop(): void;
}

export interface CliWorld {
  readonly out: TextOutput;
  readonly err: TextOutput;
  /** Relative paths start here. */
  readonly directory: string;
  readonly version: string;
  /** Throws `invalid-configuration`. */
  readonly readConfig: (commandLine: CommandLineSettings) => Loaded;
  /** Throws when it cannot be read. */
  readonly readFile: (path: string) => string;
  /** Standard input, to its end. */
  readonly readInput: () => string;
  readonly progress: (label: string, total: number) => ProgressBar;
  /** Aborted when the user interrupts; only verbs that run until then ask for it. */
  readonly interrupted: () => AbortSignal;
  readonly services: Services;
}

/** What runs in this process instead of asking a controller; loaded only when it is asked for. */
export interface Services {
  /** Returns when it was told to end, and has. */
  readonly standalone: (config: Config) => Promise<void>;
  readonly agent: (config: Config) => Promise<void>;
  readonly controller: (config: Config, parts: { readonly api: boolean; readonly worker: boolean }) => Promise<void>;
  /** Answers what was bound, a sentence each. */
  readonly adopt: (config: Config) => Promise<readonly string[]>;
}
