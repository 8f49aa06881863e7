/** This machine's agent: a client of the controller, and the owner of what is mounted here. */
import { readFileSync } from 'node:fs';
import type { Config } from '../config/config.ts';
import { Failure } from '../domain/errors.ts';
import type { Port } from '../domain/host.ts';
import { endpointOf, tokenSourceOf } from '../http/client-endpoint.ts';
import type { Endpoint, ReadToken } from '../http/client-transport.ts';
import { createLog } from '../telemetry/log.ts';
import { type OpenAgent, openAgent } from './compose/agent.ts';
import { hostLine } from './compose/greeting.ts';
import { runUntilTold } from './service.ts';

/** Runs until the process is told to end; mounts stay. */
export async function runAgent(config: Config): Promise<void> {
  const log = createLog(config.log, { program: 'agent', isTerminal: process.stderr.isTTY });
  const answerMs = config.agent.controllerTimeoutMs;
  await runUntilTold(
    config,
    (closers) => openAgent({ config, log, ...controllerOf(config), answerMs }, closers),
    async (opened) => {
      const ports = await opened.host.discoverPorts();
      if (!ports.some(isOnline)) log.warn({ ports }, noPath(config));
      return greeting(config, opened, ports);
    },
  );
}

function controllerOf(config: Config): { readonly endpoint: Endpoint; readonly token: string | ReadToken | null } {
  const readText = (path: string) => readFileSync(path, 'utf8');
  const endpoint = endpointOf(config, readText);
  const token = tokenSourceOf(config, readText);
  if (token === null && 'url' in endpoint) {
    const why = `the controller at ${endpoint.url} wants a token of role host: --token or --token-file`;
    throw new Failure('invalid-configuration', `token must be set, because ${why}.`);
  }
  return { endpoint, token };
}

function isOnline({ state }: Port): boolean {
  return state === 'online';
}

function noPath({ host }: Config): string {
  return `no path leads from this machine to any volume: it has no Fibre Channel port that is online, and no storage node keeps exports at ${host.exportsDirectory}`;
}

function greeting(config: Config, { host, services }: OpenAgent, ports: readonly Port[]): string {
  const names = ports.filter(isOnline).map(({ wwpn, fabric }) => `${wwpn} (${fabric})`);
  const lines = [
    `socket    ${config.agentSocket}`,
    `control   ${config.client.server ?? config.controllerSocket}`,
    hostLine(config, host),
    `ports     ${names.length > 0 ? names.join(', ') : noPath(config)}`,
    `data      ${config.dataDir}/agent`,
    ...services.map(({ told }) => told),
  ];
  return `\nThe agent of ${config.host.name} is running.\n  ${lines.join('\n  ')}\n\nTry next:\n  ./fcr agent status\n  ./fcr mount data /mnt/data\n  ./fcr mounts\n\n`;
}
