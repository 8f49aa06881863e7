/** This machine as a host of a controller, wherever that is: its devices, its mounts, and what it serves locally. */
import { dirname, join } from 'node:path';
import type { Logger } from 'pino';
import { restController } from '../../agent/rest-controller.ts';
import { type RunningAgent, startAgent } from '../../agent/start.ts';
import type { Config } from '../../config/config.ts';
import { limits } from '../../config/limits.ts';
import type { Host } from '../../host/host.ts';
import { ControllerClient } from '../../http/client.ts';
import type { Endpoint, ReadToken } from '../../http/client-transport.ts';
import { lockDirectory } from '../../system/directory-lock.ts';
import { makeDirectoryDurably } from '../../system/durable-file.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import { type AgentService, type AgentSurroundings, agentServices } from './agent-services.ts';
import type { Closers } from './closers.ts';
import { openHost } from './host.ts';

export interface AgentParts {
  readonly openHost: typeof openHost;
}

export const agentParts: AgentParts = { openHost };

export interface AgentOptions {
  readonly config: Config;
  readonly log: Logger;
  /** Of the controller. */
  readonly endpoint: Endpoint;
  readonly token: string | ReadToken | null;
  /** The longest that the controller may be silent in one exchange. */
  readonly answerMs: number;
  readonly parts?: AgentParts;
  /** Those of the controller in the same process; absent: the agent is all of its process, and counts for itself. */
  readonly controllerMetrics?: Metrics;
}

export interface OpenAgent {
  readonly host: Host;
  readonly agent: RunningAgent;
  /** What is served besides agent.sock. */
  readonly services: readonly AgentService[];
}

/** One agent per data directory: two would mount and unmount each other's volumes. */
export async function openAgent(options: AgentOptions, closers: Closers): Promise<OpenAgent> {
  const { config, log, endpoint, token, answerMs, parts = agentParts, controllerMetrics } = options;
  const stateDirectory = join(config.dataDir, 'agent');
  const lock = await lockDirectory(stateDirectory);
  closers.add(() => lock.release());
  await makeDirectoryDurably(dirname(config.agentSocket));
  const host = await parts.openHost(config, log);
  closers.add(() => host.close());
  const connect = (deadlineMs: number, other: string | ReadToken | null = null) => {
    const client = new ControllerClient({ endpoint, token: other ?? token, deadlineMs });
    closers.add(() => client.close());
    return client;
  };
  const agent = await startAgent({
    controller: restController(connect(answerMs), answerMs),
    host,
    stateDirectory,
    socketPath: config.agentSocket,
    hostName: config.host.name,
    logger: log,
    ofProcess: controllerMetrics === undefined,
    intervals: {
      reconcileMs: config.reconcile.attachmentsMs,
      // An operation may take several exchanges; one exchange never takes longer than its own bound.
      controllerCallMs: Math.max(answerMs, limits.agentControllerCallMs),
    },
  });
  closers.add(() => agent.close());
  const isShared = controllerMetrics === undefined;
  const metrics = controllerMetrics ?? agent.metrics;
  const services = await startServices({ config, log, agent, connect, isShared, metrics }, closers);
  return { host, agent, services };
}

async function startServices(at: AgentSurroundings, closers: Closers): Promise<readonly AgentService[]> {
  const running: AgentService[] = [];
  for (const start of agentServices) {
    const service = await start(at);
    if (service === null) continue;
    closers.add(() => service.close());
    running.push(service);
  }
  return running;
}
