/**
 * API, workers and storage node in one process, or the one half without the other; standalone is this with an agent.
 *
 * The whole and the worker have a storage node beside them, and own the data directory. An API replica has nothing there
 * but the admin token, and shares the store with any number of its kind.
 */
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Logger } from 'pino';
import type { Config } from '../../config/config.ts';
import { Failure } from '../../domain/errors.ts';
import type { Exchange } from '../../http/client-transport.ts';
import { exchangeWith } from '../../http/in-process.ts';
import { type Listening, listen, refuseTaken, type Where } from '../../http/listeners.ts';
import { buildServer } from '../../http/server.ts';
import type { PartCondition } from '../../operations/control-plane.ts';
import type { Queue } from '../../queue/queue.ts';
import type { MayAct, StorageNode } from '../../storage-node/storage-node.ts';
import type { Store } from '../../store/store.ts';
import { systemClock } from '../../system/clock.ts';
import { lockDirectory } from '../../system/directory-lock.ts';
import { makeDirectoryDurably } from '../../system/durable-file.ts';
import { Metrics } from '../../telemetry/metrics.ts';
import type { Closers } from './closers.ts';
import { type OpenControlPlane, openApiPlane, type RunningControlPlane, startControlPlane } from './control-plane.ts';
import { prepareFirstStart } from './first-start.ts';
import { exposureOf } from './greeting.ts';
import { NodeLease, nodeLeaseName } from './node-lease.ts';
import { openQueue } from './queue.ts';
import { openStorageNode, registerStorageNode } from './storage-node.ts';
import { openStore } from './store.ts';

export interface ControllerParts {
  readonly openStore: typeof openStore;
  readonly openStorageNode: (config: Config, mayAct: MayAct) => Promise<StorageNode>;
}

export const controllerParts: ControllerParts = { openStore, openStorageNode };

export interface ControllerOptions {
  readonly config: Config;
  readonly log: Logger;
  /** The process must end: what it relies on cannot be trusted any more. */
  readonly onFatal: (message: string) => void;
  readonly parts?: ControllerParts;
  /** Whatever else the process has that may not be ready. */
  readonly unready?: () => readonly PartCondition[];
}

export interface Controller {
  readonly listening: Listening;
  /** For clients in this process. */
  readonly exchange: Exchange;
  readonly metrics: Metrics;
  readonly store: Store;
}

export interface WorkingController extends Controller {
  readonly node: StorageNode;
  readonly controlPlane: RunningControlPlane;
}

/** With workers, maintenance and a storage node. `api` false: nothing of /v1 but what concerns its own storage node. */
export async function openController(
  options: ControllerOptions,
  closers: Closers,
  { api }: { readonly api: boolean } = { api: true },
): Promise<WorkingController> {
  const { config, log, onFatal, parts = controllerParts } = options;
  if (!api) requireShared(config, '--worker-only');
  const lock = await lockDirectory(config.dataDir);
  closers.add(() => lock.release());
  await refuseTaken(placesOf(config));
  const store = await parts.openStore(config, onFatal);
  closers.add(() => store.close());
  const lease = await takeLease(config, store, log, closers);
  const nodeLease = async () => lease?.mayAct() ?? null;
  const node = await parts.openStorageNode(config, () => lease === null || lease.mayAct());
  closers.add(() => node.close());
  const { queue, metrics } = await openSurroundings({ config, store, log, nodeLease }, closers);
  await registerStorageNode(store, node);
  await prepareFirstStart({ config, store, node, api });
  const controlPlane = await startControlPlane({ config, store, queue, nodes: [node], metrics, log, lease });
  closers.add(() => controlPlane.close());
  const served = await serve({ ...options, controlPlane, metrics, serveApi: api }, closers);
  return { ...served, metrics, store, node, controlPlane };
}

/** Null: no other process can be on the store, which is in the data directory. */
async function takeLease(config: Config, store: Store, log: Logger, closers: Closers): Promise<NodeLease | null> {
  if (config.store.kind === 'sqlite') return null;
  const lease = await NodeLease.take({ store, dataDir: config.dataDir, clock: systemClock, log });
  closers.add(() => lease.close());
  return lease;
}

/** Intake and events alone, as one of several. */
export async function openApiReplica(options: ControllerOptions, closers: Closers): Promise<Controller> {
  const { config, log, onFatal, parts = controllerParts } = options;
  requireShared(config, '--no-worker');
  await makeDirectoryDurably(config.dataDir);
  await refuseTaken(placesOf(config));
  const store = await parts.openStore(config, onFatal);
  closers.add(() => store.close());
  const nodeLease = () => store.leaseHeld(nodeLeaseName);
  const { queue, metrics } = await openSurroundings({ config, store, log, nodeLease }, closers);
  await prepareFirstStart({ config, store, node: null, api: true });
  const controlPlane = openApiPlane({ config, store, queue, metrics, log });
  closers.add(() => controlPlane.close());
  const served = await serve({ ...options, controlPlane, metrics, serveApi: true }, closers);
  return { ...served, metrics, store };
}

/** The halves find each other by a database and a queue that several processes can be on. */
function requireShared({ store, queue }: Config, flag: string): void {
  const missing = [
    ...(store.kind === 'postgres' ? [] : [`store postgres (it is ${store.kind})`]),
    ...(queue.kind === 'bullmq' ? [] : [`queue bullmq (it is ${queue.kind})`]),
  ];
  if (missing.length === 0) return;
  const why = 'API and worker are different processes then.';
  throw new Failure('invalid-configuration', `${flag} needs ${missing.join(' and ')}: ${why}`);
}

interface Surroundings {
  readonly config: Config;
  readonly store: Store;
  readonly log: Logger;
  readonly nodeLease: () => Promise<boolean | null>;
}

async function openSurroundings(
  { config, store, log, nodeLease }: Surroundings,
  closers: Closers,
): Promise<{ readonly queue: Queue; readonly metrics: Metrics }> {
  const sources = {
    counters: () => store.counters(),
    backlog: () => store.backlog(),
    queueDepth: () => queue.depth(),
    nodeLease,
  };
  const metrics = new Metrics({ clock: systemClock, sources });
  closers.add(() => metrics.close());
  const queue: Queue = await openQueue(config, () => metrics, log);
  closers.add(() => queue.close());
  return { queue, metrics };
}

interface Served extends ControllerOptions {
  readonly controlPlane: OpenControlPlane;
  readonly metrics: Metrics;
  readonly serveApi: boolean;
}

async function serve(
  { config, log, unready = () => [], controlPlane, metrics, serveApi }: Served,
  closers: Closers,
): Promise<Pick<Controller, 'listening' | 'exchange'>> {
  await makeDirectoryDurably(dirname(config.controllerSocket));
  const exposure = exposureOf(config);
  if (exposure !== null) log.warn({ listen: config.listen }, exposure);
  const tls = config.tls === null ? null : await readTls(config.tls);
  const app = buildServer({
    controlPlane: {
      ...controlPlane,
      readiness: async () => {
        const conditions = await controlPlane.readiness();
        return { ...conditions, unready: [...unready(), ...conditions.unready] };
      },
    },
    logger: log,
    metrics,
    clock: systemClock,
    tls,
    serveMetrics: config.metrics,
    serveApi,
  });
  closers.add(() => app.close());
  const exchange = exchangeWith(app);
  const listening = await listen(app, placesOf(config));
  return { listening, exchange };
}

function placesOf({ listen: tcp, controllerSocket }: Config): Where {
  return { tcp, unix: { path: controllerSocket, setting: 'socketDirectory (FCR_SOCKET_DIRECTORY)' } };
}

async function readTls({ certFile, keyFile, clientCaFile }: NonNullable<Config['tls']>) {
  const [cert, key] = await Promise.all([readFile(certFile, 'utf8'), readFile(keyFile, 'utf8')]);
  return clientCaFile === null ? { cert, key } : { cert, key, clientCa: await readFile(clientCaFile, 'utf8') };
}
