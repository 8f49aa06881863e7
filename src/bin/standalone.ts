/** The whole product in one process. */
import type { Config } from '../config/config.ts';
import { createLog } from '../telemetry/log.ts';
import { apiLine, hostLine } from './compose/greeting.ts';
import { type Standalone, startStandalone } from './compose/standalone.ts';
import { endsFatally, runUntilTold } from './service.ts';

/** Runs until the process is told to end. */
export async function runStandalone(config: Config): Promise<void> {
  const log = createLog(config.log, { program: 'standalone', isTerminal: process.stderr.isTTY });
  await runUntilTold(
    config,
    async (closers) => {
      const running = await startStandalone(config, log, endsFatally(log));
      closers.add(() => running.close());
      return running;
    },
    (running) => greeting(config, running),
  );
}

function greeting(config: Config, { listening, host, services }: Standalone): string {
  return `
FC-Redirect is running.
  ${apiLine(config, listening)}
  sockets   ${config.controllerSocket}, ${config.agentSocket}
  data      ${config.dataDir}   (store: ${config.store.kind}, queue: ${config.queue.kind})
  ${[hostLine(config, host), ...services.map(({ told }) => told)].join('\n  ')}

Try next:
  ./fcr volume create data
  ./fcr mount data
  ./fcr volume list

`;
}
