/** What the long-running programs have in common: they run until they are told to end, or cannot be trusted any more. */
import type { Logger } from 'pino';

/** EX_SOFTWARE of sysexits.h: a new process has to look at the store afresh. */
const exitFatal = 70;

export function untilTold(): Promise<void> {
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
