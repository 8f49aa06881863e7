/** The configuration of this very process: its environment, its user, its files. Only src/bin and the CLI call it. */
import { readFileSync } from 'node:fs';
import { homedir, hostname } from 'node:os';
import { Failure } from '../domain/errors.ts';
import { type Loaded, loadConfig } from './load.ts';

export interface CommandLineSettings {
  readonly flags: Readonly<Record<string, string>>;
  readonly configFile?: string | undefined;
}

/** Throws `invalid-configuration`. */
export function readConfig(commandLine: CommandLineSettings = { flags: {} }): Loaded {
  return loadConfig({
    surroundings: {
      isRoot: process.geteuid?.() === 0,
      home: homedir(),
      hostName: hostname(),
      environment: process.env,
    },
    flags: commandLine.flags,
    configFile: commandLine.configFile,
    readFile,
  });
}

/** Absent is null; unreadable is an error: a file that was meant to count must not be passed over. */
function readFile(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw new Failure('invalid-configuration', `${path}: cannot be read (${String(code)}).`, { cause: error });
  }
}
