/** What the long-running programs have in common: they run until they are told to end, or cannot be trusted any more. */
import type { Logger } from 'pino';
import type { Config } from '../config/config.ts';
import { namingFullDisk } from '../system/full-disk.ts';
import { Closers } from './compose/closers.ts';

/** EX_SOFTWARE of sysexits.h: a new process has to look at the store afresh. */
const exitFatal = 70;

/**
 * Starts, greets, and closes all that was opened once the process is told to end. A signal that comes during the start
 * takes effect at its end, so that no socket is left for others to wait on; a second one ends the process at once.
 */
export async function runUntilTold<T>(
  { dataDir }: Pick<Config, 'dataDir'>,
  start: (closers: Closers) => Promise<T>,
  greeting: (started: T) => string | Promise<string>,
): Promise<void> {
  const told = untilTold();
  const { started, close } = await Closers.over(async (closers) => ({
    started: await start(closers),
    close: () => closers.close(),
  })).catch((error: unknown) => {
    throw namingFullDisk(dataDir, error);
  });
  process.stdout.write(await greeting(started));
  await told;
  await close();
}

function untilTold(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
}

export function endsFatally(log: Logger): (message: string) => void {
  return (message) => {
    log.fatal({ reason: message }, 'the store failed; the process ends');
    process.exit(exitFatal);
  };
}
