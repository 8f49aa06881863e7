/** The whole product in one process. */
import type { Config } from '../config/config.ts';
import { createLog } from '../telemetry/log.ts';
import { type Standalone, startStandalone } from './compose/standalone.ts';

/** EX_SOFTWARE of sysexits.h: the store can no longer be trusted, a new process has to look at it afresh. */
const exitFatal = 70;

/** Runs until the process is told to end. */
export async function runStandalone(config: Config): Promise<void> {
  const log = createLog(config.log, { program: 'standalone', isTerminal: process.stderr.isTTY });
  const running = await startStandalone(config, log, (message) => {
    log.fatal({ reason: message }, 'the store failed; the process ends');
    process.exit(exitFatal);
  });
  process.stdout.write(greeting(config, running));
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  await running.close();
}

function dockerText({ socketPath, port }: Standalone['docker']): string {
  const places = [socketPath ?? [], port === null ? [] : `127.0.0.1:${port}`].flat();
  return places.length === 0 ? 'no volume plugin' : `volume plugin at ${places.join(', ')}`;
}

function greeting(config: Config, { listening, host, docker }: Standalone): string {
  const { simulated, reasons } = host.capabilities;
  const scheme = config.tls === null ? 'http' : 'https';
  return `
FC-Redirect is running.
  REST      ${scheme}://${config.listen.host}:${listening.port}/v1   (docs: /docs, token: ${config.adminTokenFile})
  sockets   ${config.controllerSocket}, ${config.agentSocket}
  docker    ${dockerText(docker)}
  data      ${config.dataDir}   (store: ${config.store.kind}, queue: ${config.queue.kind})
  host      ${config.host.name}: ${simulated ? `simulated, because ${reasons.join('; ')}` : 'real block devices'}

Try next:
  ./fcr volume create data
  ./fcr mount data
  ./fcr volume list

`;
}
