import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Logger } from 'pino';
import type { Agent } from '../../agent/agent.ts';
import { type RunningAgent, startAgent } from '../../agent/start.ts';
import type { Config } from '../../config/config.ts';
import { limits } from '../../config/limits.ts';
import { type RunningDockerVolumePlugin, startDockerVolumePlugin } from '../../frontends/docker-volume/start.ts';
import type { Host } from '../../host/host.ts';
import { ControllerClient } from '../../http/client.ts';
import { type Listening, listen } from '../../http/listeners.ts';
import { buildServer } from '../../http/server.ts';
import type { ControlPlane } from '../../operations/control-plane.ts';
import type { Queue } from '../../queue/queue.ts';
import type { StorageNode } from '../../storage-node/storage-node.ts';
import type { Store } from '../../store/store.ts';
import { systemClock } from '../../system/clock.ts';
import { lockDirectory } from '../../system/directory-lock.ts';
import { makeDirectoryDurably } from '../../system/durable-file.ts';
import { Metrics } from '../../telemetry/metrics.ts';
import { type RunningControlPlane, startControlPlane } from './control-plane.ts';
import { prepareFirstStart } from './first-start.ts';
import { openHost } from './host.ts';
import { openQueue } from './queue.ts';
import { openStorageNode, registerStorageNode } from './storage-node.ts';
import { openStore } from './store.ts';

export interface Standalone {
  readonly listening: Listening;
  readonly host: Host;
  readonly store: Store;
  readonly node: StorageNode;
  readonly controlPlane: RunningControlPlane;
  readonly agent: RunningAgent;
  readonly docker: RunningDockerVolumePlugin;
  close(): Promise<void>;
}

/** What a standalone stands on. Tests put something else in the place of one, to show that its failure would be seen. */
export interface StandaloneParts {
  readonly openStore: typeof openStore;
  readonly openStorageNode: (config: Config) => Promise<StorageNode>;
  readonly openHost: (config: Config) => Promise<Host>;
}

export const standaloneParts: StandaloneParts = { openStore, openStorageNode, openHost };

/** What has been opened, closed in the opposite order, also when opening stopped halfway. */
class Closers {
  readonly #closers: (() => Promise<unknown> | unknown)[] = [];

  add(close: () => Promise<unknown> | unknown): void {
    this.#closers.push(close);
  }

  async close(): Promise<void> {
    for (let close = this.#closers.pop(); close !== undefined; close = this.#closers.pop()) await close();
  }
}

/** The whole product in one process: store, queue, storage node, control plane, REST, host and agent. */
export async function startStandalone(
  config: Config,
  log: Logger,
  onFatal: (message: string) => void,
  parts = standaloneParts,
): Promise<Standalone> {
  const closers = new Closers();
  try {
    return await open(config, log, onFatal, { ...parts, closers });
  } catch (error) {
    await closers.close();
    throw error;
  }
}

async function open(
  config: Config,
  log: Logger,
  onFatal: (message: string) => void,
  { closers, ...parts }: StandaloneParts & { readonly closers: Closers },
): Promise<Standalone> {
  const lock = await lockDirectory(config.dataDir);
  closers.add(() => lock.release());
  await makeDirectoryDurably(dirname(config.controllerSocket));
  const store = await parts.openStore(config, onFatal);
  closers.add(() => store.close());
  const node = await parts.openStorageNode(config);
  closers.add(() => node.close());
  const metrics = metricsOf(store, () => queue);
  closers.add(() => metrics.close());
  const queue: Queue = await openQueue(config, () => metrics, log);
  closers.add(() => queue.close());
  await registerStorageNode(store, node);
  await prepareFirstStart(config, store, node.name);

  const owner = `${config.host.name}:${process.pid}:${Date.now()}`;
  const alone = config.store.kind === 'sqlite';
  const controlPlane = await startControlPlane({ config, store, queue, nodes: [node], metrics, log, owner, alone });
  closers.add(() => controlPlane.close());
  // The agent registers over the API, so that comes first; ready is the whole.
  let isAgentUp = false;
  const shown: ControlPlane = {
    ...controlPlane,
    readiness: async () => {
      const { unready, degraded } = await controlPlane.readiness();
      return { unready: [...(isAgentUp ? [] : [agentStarting]), ...unready], degraded };
    },
  };
  const listening = await serve(config, shown, metrics, log, closers);
  const host = await parts.openHost(config);
  closers.add(() => host.close());
  const agent = await embedAgent(config, host, log, closers);
  const docker = await serveDocker(config, agent.agent, { log, metrics }, closers);
  isAgentUp = true;
  return { listening, host, store, node, controlPlane, agent, docker, close: () => closers.close() };
}

const agentStarting = { part: 'agent', reason: 'It is starting.' };

function metricsOf(store: Store, queue: () => Queue): Metrics {
  return new Metrics({
    clock: systemClock,
    sources: { counters: () => store.counters(), backlog: () => store.backlog(), queueDepth: () => queue().depth() },
  });
}

async function serve(
  config: Config,
  controlPlane: ControlPlane,
  metrics: Metrics,
  log: Logger,
  closers: Closers,
): Promise<Listening> {
  const tls = config.tls === null ? null : await readTls(config.tls);
  const app = buildServer({
    controlPlane,
    logger: log,
    metrics,
    clock: systemClock,
    tls,
    serveMetrics: config.metrics,
  });
  closers.add(() => app.close());
  return listen(app, { tcp: config.listen, unix: { path: config.controllerSocket } });
}

async function readTls({ certFile, keyFile, clientCaFile }: NonNullable<Config['tls']>) {
  const [cert, key] = await Promise.all([readFile(certFile, 'utf8'), readFile(keyFile, 'utf8')]);
  return clientCaFile === null ? { cert, key } : { cert, key, clientCa: await readFile(clientCaFile, 'utf8') };
}

async function embedAgent(config: Config, host: Host, log: Logger, closers: Closers): Promise<RunningAgent> {
  const controller = new ControllerClient({ endpoint: { socketPath: config.controllerSocket } });
  closers.add(() => controller.close());
  const agent = await startAgent({
    controller,
    host,
    stateDirectory: join(config.dataDir, 'agent'),
    socketPath: config.agentSocket,
    hostName: config.host.name,
    logger: log,
    intervals: { reconcileMs: config.reconcile.attachmentsMs },
  });
  closers.add(() => agent.close());
  return agent;
}

async function serveDocker(
  config: Config,
  agent: Agent,
  { log, metrics }: { readonly log: Logger; readonly metrics: Metrics },
  closers: Closers,
): Promise<RunningDockerVolumePlugin> {
  const controller = new ControllerClient({
    endpoint: { socketPath: config.controllerSocket },
    deadlineMs: limits.dockerControllerMs,
  });
  closers.add(() => controller.close());
  const parts = { agent, controller, isShared: false, clock: systemClock, log, metrics };
  const plugin = await startDockerVolumePlugin({ config: config.docker, ...parts });
  closers.add(() => plugin.close());
  return plugin;
}
