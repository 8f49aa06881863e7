/**
 * The real control plane for tests of what lies above it: SQLite on its thread, in-process queue, worker and reconcilers,
 * over a simulated storage node that can fail on request. No default pool, no host.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { pino } from 'pino';
import { type RunningControlPlane, startControlPlane } from '../../src/bin/compose/control-plane.ts';
import type { WorkerLease } from '../../src/bin/compose/mandate.ts';
import { registerStorageNode } from '../../src/bin/compose/storage-node.ts';
import { openStore } from '../../src/bin/compose/store.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { Conditions, ControlPlane, Intake } from '../../src/operations/control-plane.ts';
import { InProcessQueue } from '../../src/queue/in-process/in-process-queue.ts';
import { SimulatedStorageNode } from '../../src/storage-node/simulator/simulated-storage-node.ts';
import type { Store } from '../../src/store/store.ts';
import { systemClock } from '../../src/system/clock.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { Api } from './api.ts';
import { noSources } from './no-sources.ts';

/** A running API over a world of its own, both closed with the test. */
export async function openApi(
  t: ExecutionContext,
  faults: (world: ControlPlaneWorld) => Faults = () => ({}),
  settings: Settings = {},
  surroundings: WorldSurroundings = {},
): Promise<{ readonly api: Api; readonly world: ControlPlaneWorld }> {
  const world = await ControlPlaneWorld.open(settings, surroundings);
  t.teardown(() => world.close());
  const api = await Api.over(withFaults(world.controlPlane, faults(world)));
  t.teardown(() => api.close());
  return { api, world };
}

/** Over those of every world. */
type Settings = Readonly<Record<string, string>>;

/** What the layers below do otherwise than they would. */
export interface Faults {
  readonly store?: Partial<Store>;
  readonly intake?: Partial<Intake>;
  readonly conditions?: Conditions;
}

/** What a control plane finds when it starts. */
export interface WorldSurroundings {
  /** Null: it is alone on its store. */
  readonly lease?: WorkerLease | null;
  readonly store?: (real: Store) => Partial<Store>;
  /** What was there before it started. */
  readonly before?: (store: Store) => Promise<unknown>;
}

function withFaulty(store: Store, faults: Partial<Store>): Store {
  return new Proxy(store, {
    get: (target, name) => {
      const instead: unknown = Reflect.get(faults, name);
      const method: unknown = instead ?? Reflect.get(target, name);
      return typeof method === 'function' && instead === undefined ? method.bind(target) : method;
    },
  });
}

export function withFaults(controlPlane: ControlPlane, faults: Faults): ControlPlane {
  const store = withFaulty(controlPlane.store, faults.store ?? {});
  const { intake } = controlPlane;
  return {
    ...controlPlane,
    store,
    intake: {
      accept: faults.intake?.accept ?? ((batch) => intake.accept(batch)),
      waitEnded: faults.intake?.waitEnded ?? ((batch, timeoutMs) => intake.waitEnded(batch, timeoutMs)),
    },
    readiness: async () => faults.conditions ?? (await controlPlane.readiness()),
  };
}

const everything = { pageSize: 1_000, pageToken: null };
const log = pino({ level: 'silent' });

export class ControlPlaneWorld {
  readonly controlPlane: RunningControlPlane;
  readonly store: Store;
  readonly node: SimulatedStorageNode;
  readonly #close: () => Promise<void>;

  private constructor(controlPlane: RunningControlPlane, node: SimulatedStorageNode, close: () => Promise<void>) {
    this.controlPlane = controlPlane;
    this.store = controlPlane.store;
    this.node = node;
    this.#close = close;
  }

  static async open(settings: Settings = {}, surroundings: WorldSurroundings = {}): Promise<ControlPlaneWorld> {
    const dataDir = mkdtempSync(join(tmpdir(), 'fcr-world-'));
    const config = configOf(dataDir, settings);
    const opened = await openStore(config, (message) => {
      throw new Error(message);
    });
    const store = withFaulty(opened, surroundings.store?.(opened) ?? {});
    const node = new SimulatedStorageNode({ name: 'local', backends: ['file'] });
    const queue = new InProcessQueue({ observer: { handoverFailed: () => undefined, errored: () => undefined } });
    const sources = { ...noSources, counters: () => store.counters(), backlog: () => store.backlog() };
    const metrics = new Metrics({ clock: systemClock, sources });
    await registerStorageNode(store, node);
    await surroundings.before?.(store);
    const { lease = null } = surroundings;
    const parts = { config, store, queue, nodes: [node], metrics, log, lease };
    const controlPlane = await startControlPlane(parts);
    return new ControlPlaneWorld(controlPlane, node, async () => {
      await controlPlane.close();
      await queue.close();
      metrics.close();
      await store.close();
      rmSync(dataDir, { recursive: true, force: true });
    });
  }

  close(): Promise<void> {
    return this.#close();
  }

  /** Everything that a request can change, as text; what reconcilers change by themselves is left out. */
  async state(): Promise<string> {
    const { store } = this;
    const active = (await store.poolList(everything)).items.filter((pool) => pool.state === 'active');
    const pools = active.map(({ status: _status, ...pool }) => pool);
    const volumes = (await store.volumeList({ state: 'allocated' }, everything)).items;
    const attachments = (await store.attachmentList({}, everything)).items;
    const hosts = (await store.hostList(everything)).items;
    const nodes = (await store.storageNodeList(everything)).items;
    const flows = (await store.flowPolicyList({}, everything)).items;
    const qos = (await store.qosPolicyList(everything)).items;
    const tokens = (await store.tokenList(everything)).items;
    return JSON.stringify({ pools, volumes, attachments, hosts, nodes, flows, qos, tokens });
  }
}

function configOf(dataDir: string, settings: Settings) {
  const flags = {
    dataDir,
    'storageNode.kind': 'simulated',
    'storageNode.name': 'local',
    'host.mode': 'simulated',
    'defaultPool.create': 'false',
    'log.level': 'silent',
    ...settings,
  };
  const surroundings = { isRoot: false, home: dataDir, hostName: 'node1', environment: {} };
  return loadConfig({ surroundings, flags, readFile: () => null }).config;
}
