/** The agent in one piece, for the program that embeds it: its journal, its local API, its timers. */
import { join } from 'node:path';
import type { Host } from '../host/host.ts';
import { type Clock, systemClock } from '../system/clock.ts';
import { makeDirectoryDurably } from '../system/durable-file.ts';
import { AgentMetrics, type AgentNow } from '../telemetry/agent-metrics.ts';
import { Agent, type AgentIntervals, type AgentStatus } from './agent.ts';
import type { AgentLogger } from './context.ts';
import type { ControllerPort } from './controller-port.ts';
import { MountJournal } from './mount-journal.ts';
import type { ReconcileSummary } from './reconcile.ts';
import { type SocketMode, serveAgent } from './server.ts';

export interface StartAgentOptions {
  readonly controller: ControllerPort;
  readonly host: Host;
  /** For this agent alone; it is made when it is not there. */
  readonly stateDirectory: string;
  /** Its directory must exist. */
  readonly socketPath: string;
  readonly socketMode?: SocketMode;
  readonly hostName: string;
  readonly logger: AgentLogger;
  readonly clock?: Clock;
  readonly intervals?: AgentIntervals;
  /** The agent is all of its process. */
  readonly ofProcess?: boolean;
}

export interface RunningAgent {
  readonly agent: Agent;
  readonly metrics: AgentMetrics;
  status(): AgentStatus;
  /** Resolves when a run that began after this call has ended. */
  reconcile(): Promise<ReconcileSummary>;
  nudge(): void;
  /** Ends the API and the timers, after what is under way; mounts stay. The host and the controller stay open. */
  close(): Promise<void>;
}

/** The controller need not be there yet: what is mounted is listed at once, and put right when it answers. */
export async function startAgent(options: StartAgentOptions): Promise<RunningAgent> {
  const { stateDirectory, socketPath, socketMode = 0o600, clock = systemClock, intervals = {} } = options;
  await makeDirectoryDurably(stateDirectory);
  const journal = await MountJournal.open(join(stateDirectory, 'mounts.journal'));
  try {
    const metrics = new AgentMetrics({ now: () => nowOf(agent), ofProcess: options.ofProcess ?? false });
    const agent = await Agent.compose({ ...options, journal, clock, intervals, observer: metrics });
    const server = await serveAgent({ agent, metrics, socketPath, socketMode });
    agent.startTimers(intervals);
    return {
      agent,
      metrics,
      status: () => agent.status(),
      reconcile: () => agent.reconcile(),
      nudge: () => agent.nudge(),
      close: async () => {
        await Promise.all([server.close(), agent.close()]);
        await journal.close();
        metrics.close();
      },
    };
  } catch (error) {
    await journal.close();
    throw error;
  }
}

function nowOf(agent: Agent): AgentNow {
  const { mounts, controller, registration, store } = agent.status();
  return {
    mounts,
    controllerReachable: controller.reachable === true,
    registered: registration.registered,
    storeForeign: store.problem !== null,
  };
}
