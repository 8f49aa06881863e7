/** API, workers and storage node without a host: the agents are processes of their own. Or one half of it. */
import type { Config } from '../config/config.ts';
import { createLog } from '../telemetry/log.ts';
import { type Controller, openApiReplica, openController } from './compose/controller.ts';
import { addressOf, apiLine } from './compose/greeting.ts';
import { endsFatally, runUntilTold } from './service.ts';

export interface ControllerHalves {
  readonly api: boolean;
  readonly worker: boolean;
}

/** Runs until the process is told to end. */
export async function runController(config: Config, halves: ControllerHalves): Promise<void> {
  const log = createLog(config.log, { program: programOf(halves), isTerminal: process.stderr.isTTY });
  const options = { config, log, onFatal: endsFatally(log) };
  await runUntilTold(
    config,
    (closers): Promise<Controller> =>
      halves.worker ? openController(options, closers, halves) : openApiReplica(options, closers),
    (controller) => greeting(config, controller, halves),
  );
}

function programOf({ api, worker }: ControllerHalves): string {
  if (!worker) return 'api';
  return api ? 'controller' : 'worker';
}

function greeting(config: Config, { listening }: Controller, { api, worker }: ControllerHalves): string {
  const address = addressOf(config, listening);
  const node = `node      ${config.storageNode.name}: ${config.storageNode.kind}, volumes below ${config.dataDir}`;
  const lines = [
    api ? apiLine(config, listening) : `status    ${address}/readyz, ${address}/metrics   (the API is another process)`,
    `socket    ${config.controllerSocket}`,
    `data      ${config.dataDir}   (store: ${config.store.kind}, queue: ${config.queue.kind})`,
    worker ? node : 'node      none: a worker (fcr controller --worker-only) carries out what is asked here',
  ];
  const next = api
    ? [
        `(umask 077; ./fcr token create agent --role host --host ${config.host.name} --quiet > agent.token)`,
        `./fcr agent --server ${address} --token-file "$PWD/agent.token"`,
      ]
    : ['./fcr controller --no-worker'];
  return `\nFC-Redirect ${programOf({ api, worker })} is running.\n  ${lines.join('\n  ')}\n\nTry next:\n  ${next.join('\n  ')}\n\n`;
}
