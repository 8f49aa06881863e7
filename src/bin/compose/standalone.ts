/** The whole product in one process: a controller, and this machine's agent as its client. */
import type { Logger } from 'pino';
import type { Config } from '../../config/config.ts';
import { limits } from '../../config/limits.ts';
import type { Host } from '../../host/host.ts';
import { type AgentParts, agentParts, type OpenAgent, openAgent } from './agent.ts';
import { Closers } from './closers.ts';
import { type ControllerParts, controllerParts, openController, type WorkingController } from './controller.ts';

export interface Standalone extends WorkingController, Pick<OpenAgent, 'agent' | 'services'> {
  readonly host: Host;
  close(): Promise<void>;
}

/** What a standalone stands on. Tests put something else in the place of one, to show that its failure would be seen. */
export type StandaloneParts = ControllerParts & AgentParts;

export const standaloneParts: StandaloneParts = { ...controllerParts, ...agentParts };

export function startStandalone(
  config: Config,
  log: Logger,
  onFatal: (message: string) => void,
  parts = standaloneParts,
): Promise<Standalone> {
  return Closers.over(async (closers) => {
    // The agent registers over the API, so that comes first; ready is the whole.
    let isAgentUp = false;
    const unready = () => (isAgentUp ? [] : [agentStarting]);
    const controller = await openController({ config, log, onFatal, parts, unready }, closers);
    const endpoint = { exchange: controller.exchange };
    // What is in the same process does not go away: it is slow at the most.
    const answerMs = limits.agentControllerCallMs;
    const controllerMetrics = controller.metrics;
    const agent = await openAgent({ config, log, endpoint, token: null, answerMs, parts, controllerMetrics }, closers);
    isAgentUp = true;
    return { ...controller, ...agent, close: () => closers.close() };
  });
}

const agentStarting = { part: 'agent', reason: 'It is starting.' };
