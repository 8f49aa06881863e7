/**
 * What an agent's process serves besides its own socket, embedded or not: a frontend that is made of the agent's mounts
 * is started here, each by a function in the list. They are started in this order once the agent runs, and closed before it.
 */
import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import { serveAgentStatus } from '../../agent/server.ts';
import type { RunningAgent } from '../../agent/start.ts';
import type { Config } from '../../config/config.ts';
import { limits } from '../../config/limits.ts';
import { engineController } from '../../frontends/docker-volume/controller.ts';
import { startDockerVolumePlugin } from '../../frontends/docker-volume/start.ts';
import type { ControllerClient } from '../../http/client.ts';
import { tokenIn } from '../../http/client-endpoint.ts';
import type { ReadToken } from '../../http/client-transport.ts';
import { systemClock } from '../../system/clock.ts';
import type { Metrics } from '../../telemetry/metrics.ts';

export interface AgentService {
  /** For the greeting, one line: what it is, and where. */
  readonly told: string;
  close(): Promise<void>;
}

export interface AgentSurroundings {
  readonly config: Config;
  readonly log: Logger;
  readonly agent: RunningAgent;
  /** A further client of the agent's controller, closed with the process; without a token, with that of the agent. */
  readonly connect: (deadlineMs: number, token?: ReadToken | null) => ControllerClient;
  /** Whether other hosts use the same controller. */
  readonly isShared: boolean;
  /** Where frontends count what they are asked. */
  readonly metrics: Pick<Metrics, 'dockerCallEnded'>;
}

/** Null: the configuration does not ask for it. */
export type StartAgentService = (at: AgentSurroundings) => Promise<AgentService | null>;

export const agentServices: readonly StartAgentService[] = [startStatusListener, startDockerPlugin];

async function startStatusListener({ config, agent }: AgentSurroundings): Promise<AgentService | null> {
  const listen = config.agent.metricsListen;
  if (listen === null) return null;
  const { port, close } = await serveAgentStatus({ agent: agent.agent, metrics: agent.metrics, listen });
  return { told: `metrics   http://${listen.host}:${port}/metrics`, close };
}

async function startDockerPlugin(at: AgentSurroundings): Promise<AgentService> {
  const { config, log, agent, connect, isShared, metrics } = at;
  const { tokenFile } = config.docker;
  const token = tokenFile === null ? null : () => tokenIn(tokenFile, (path) => readFileSync(path, 'utf8'));
  // In one process with its controller it has none that could be away.
  const answerMs = isShared ? config.agent.controllerTimeoutMs : limits.dockerControllerMs;
  const controller = engineController({ client: connect(answerMs, token), answerMs, agent: agent.agent });
  const parts = { agent: agent.agent, controller, isShared, clock: systemClock, log, metrics };
  const plugin = await startDockerVolumePlugin({ config: config.docker, ...parts });
  const { socketPath, podmanSocketPath, port } = plugin;
  const places = [socketPath ?? [], podmanSocketPath ?? [], port === null ? [] : `127.0.0.1:${port}`].flat();
  const told =
    places.length === 0
      ? 'no volume plugin (docker.socket, FCR_DOCKER_SOCKET, names a place for it)'
      : `volume plugin at ${places.join(', ')}`;
  return { told: `docker    ${told}`, close: () => plugin.close() };
}
