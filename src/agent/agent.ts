/**
 * The per-host module: mounts for the local API, and the reconciler's timers. It is a client of the controller and of
 * the host, and owns nothing but its journal; closing it leaves every mount where it is.
 */
import { join } from 'node:path';
import { limits } from '../config/limits.ts';
import { Failure, problemOf } from '../domain/errors.ts';
import type { Port } from '../domain/host.ts';
import type { Host, HostCapabilities } from '../host/host.ts';
import type { Clock } from '../system/clock.ts';
import type { AgentContext, AgentLogger } from './context.ts';
import { ControllerLink, type Reachability } from './controller-link.ts';
import type { ControllerPort } from './controller-port.ts';
import { FollowedStore, type FollowedStoreState } from './followed-store.ts';
import type { MountJournal, MountRecord } from './mount-journal.ts';
import { resolvedPath } from './mount-path.ts';
import { type MountAnswer, type MountRequest, Mounts, type UnmountOptions } from './mounts.ts';
import { type AgentObserver, type MountAction, observedController, observedHost, silentObserver } from './observer.ts';
import { PresenceReports } from './presence-reports.ts';
import { Reconciler, type ReconcileSummary } from './reconcile.ts';
import { Registration, type RegistrationState } from './registration.ts';
import { endEarlierBoots } from './shared-mounts.ts';
import { VolumeGate } from './volume-gate.ts';

export interface AgentIntervals {
  readonly reconcileMs?: number;
  /** How often the controller is asked for what is to be detached. */
  readonly detachPollMs?: number;
  readonly controllerCallMs?: number;
  readonly attachRetryMs?: number;
  readonly volumeWaitMs?: number;
}

export interface AgentOptions {
  readonly controller: ControllerPort;
  readonly host: Host;
  readonly journal: MountJournal;
  readonly stateDirectory: string;
  readonly hostName: string;
  readonly logger: AgentLogger;
  readonly clock: Clock;
  readonly intervals: AgentIntervals;
  readonly observer?: AgentObserver;
}

export interface Unready {
  readonly part: 'controller' | 'registration' | 'store';
  readonly reason: string;
}

export interface AgentStatus {
  readonly host: string;
  readonly ports: readonly Port[];
  readonly capabilities: HostCapabilities;
  readonly controller: Reachability;
  readonly registration: RegistrationState;
  readonly store: FollowedStoreState;
  readonly lastReconcile: ReconcileSummary | null;
  readonly mounts: Readonly<Record<MountRecord['state'], number>>;
}

export class Agent {
  readonly #context: AgentContext;
  readonly #registration: Registration;
  readonly #mounts: Mounts;
  readonly #reconciler: Reconciler;
  readonly #observer: AgentObserver;
  readonly #inFlight = new Set<Promise<unknown>>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #isClosed = false;

  private constructor(context: AgentContext, machineId: string, options: AgentOptions) {
    const { intervals, observer = silentObserver } = options;
    const { hostName, bootId, host, link, logger } = context;
    this.#observer = observer;
    this.#context = context;
    this.#registration = new Registration({ hostName, machineId, bootId, host, link, logger });
    const gate = new VolumeGate({ waitMs: intervals.volumeWaitMs ?? limits.agentVolumeWaitMs });
    const registration = this.#registration;
    const parallel = limits.agentParallelVolumes;
    this.#reconciler = new Reconciler({ context, gate, registration, parallel, observer });
    this.#mounts = new Mounts({ context, gate, registration, nudge: () => this.nudge() });
  }

  /** Neither asks the controller nor touches a device. */
  static async compose(options: AgentOptions): Promise<Agent> {
    const { intervals, clock, hostName, journal, logger, observer = silentObserver } = options;
    const { machineId, bootId } = await options.host.identity();
    await endEarlierBoots(journal, bootId);
    const deadlineMs = intervals.controllerCallMs ?? limits.agentControllerCallMs;
    const host = observedHost(options.host, observer);
    const port = observedController(options.controller, observer);
    let agent: Agent | null = null;
    // What it missed meanwhile, this host's name among it, need not wait for the timer.
    const onReturn = () => agent?.returned();
    const probe = (controller: ControllerPort) => controller.attachmentList({ host: hostName, state: 'detaching' });
    const link = new ControllerLink({ port, deadlineMs, clock, probe, onReturn });
    const bounds = {
      attachRetryMs: intervals.attachRetryMs ?? limits.agentAttachRetryMs,
      mounts: limits.mountsPerHost,
      epochs: limits.agentEpochs,
    };
    const volumesDirectory = join(await resolvedPath(options.stateDirectory, () => false), 'volumes');
    const ask = () => link.call((controller) => controller.inventoryBegin(hostName));
    const begin = () =>
      ask().catch(async (error: unknown) => {
        if (!(error instanceof Failure) || error.code !== 'host-not-found') throw error;
        // Another store than the one that knew it, perhaps: which one, it says to hosts that it knows.
        if (agent !== null) await agent.#registration.refresh();
        return await ask();
      });
    const path = join(options.stateDirectory, 'followed-store.json');
    const store = await FollowedStore.open({ path, bootId, host, logger, begin });
    const reports = new PresenceReports();
    const parts = { link, store, host, journal, reports, clock, logger };
    const context = { hostName, bootId, volumesDirectory, ...parts, limits: bounds };
    agent = new Agent(context, machineId, options);
    return agent;
  }

  mount(request: MountRequest): Promise<MountAnswer> {
    return this.#track(() => this.#told('mount', this.#mounts.mount(request)));
  }

  unmount(id: string, options: UnmountOptions = {}): Promise<void> {
    return this.#track(() => this.#told('unmount', this.#mounts.unmount(id, options)));
  }

  unmountReference(volume: string, reference: string): Promise<void> {
    return this.#track(() => this.#told('unmount', this.#mounts.unmountReference(volume, reference)));
  }

  endUnused(volume: string): Promise<void> {
    return this.#track(() => this.#mounts.endUnused(volume));
  }

  /**
   * A call to the controller by another client in this process: they know together whether it is away, and whether its
   * store is the one that this host follows (`store-foreign`).
   */
  async share<T>(send: () => Promise<T>): Promise<T> {
    await this.#registration.ensure();
    await this.#context.store.ensure();
    return await this.#context.link.share(send);
  }

  mounts(): readonly MountRecord[] {
    return this.#mounts.list();
  }

  reconcile(): Promise<ReconcileSummary> {
    return this.#track(() => this.#reconciler.run());
  }

  /** Reconciles soon; nobody waits for it. */
  nudge(): void {
    if (this.#isClosed) return;
    this.reconcile().catch((error: unknown) => this.#context.logger.error({ err: error }, 'reconciling ended badly'));
  }

  /** The controller answers again. */
  returned(): void {
    this.#context.store.doubt();
    this.nudge();
  }

  status(): AgentStatus {
    const { hostName, host, link, store } = this.#context;
    const mounts = { attaching: 0, mounted: 0, unmounting: 0, detaching: 0 };
    for (const { state } of this.mounts()) mounts[state] += 1;
    return {
      host: hostName,
      ports: this.#registration.ports,
      capabilities: host.capabilities,
      controller: link.reachability,
      registration: this.#registration.state,
      store: store.state,
      lastReconcile: this.#reconciler.last,
      mounts,
    };
  }

  /** Why new mounts would be refused; empty when they would not. What is mounted works all the same. */
  readiness(): readonly Unready[] {
    const { reachable, problem } = this.#context.link.reachability;
    const { registered, problem: refusal } = this.#registration.state;
    if (refusal !== null) return [{ part: 'registration', reason: refusal.detail }];
    if (reachable !== true) return [{ part: 'controller', reason: problem ?? 'It has not answered yet.' }];
    if (!registered) return [{ part: 'registration', reason: 'The controller has not been told of this host yet.' }];
    const { problem: foreign } = this.#context.store.state;
    return foreign === null ? [] : [{ part: 'store', reason: foreign }];
  }

  /** The first run begins at once. */
  startTimers(intervals: AgentIntervals): void {
    this.nudge();
    this.#every(intervals.reconcileMs ?? limits.agentReconcileMs, () => this.nudge());
    this.#every(intervals.detachPollMs ?? limits.agentDetachPollMs, () => {
      this.#track(() => this.#pollDetaching()).catch(() => undefined);
    });
  }

  /** Resolves once the controller has been told of what is mounted, or could not be. */
  told(): Promise<void> {
    return this.#context.reports.settled();
  }

  /** Ends the timers and waits for what is under way. Mounts stay. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const timer of this.#timers) clearInterval(timer);
    while (this.#inFlight.size > 0) await Promise.allSettled(this.#inFlight);
    await this.told();
  }

  async #pollDetaching(): Promise<void> {
    const { hostName: host, link } = this.#context;
    const detaching = await link.call((controller) => controller.attachmentList({ host, state: 'detaching' }));
    if (detaching.some(({ hostSide }) => hostSide === 'claimed' || hostSide === 'attached')) this.nudge();
  }

  async #told<T>(action: MountAction, work: Promise<T>): Promise<T> {
    const began = performance.now();
    try {
      const done = await work;
      this.#observer.actionEnded(action, null, performance.now() - began);
      return done;
    } catch (error) {
      this.#observer.actionEnded(action, problemOf(error).code, performance.now() - began);
      throw error;
    }
  }

  #every(periodMs: number, action: () => void): void {
    const timer = setInterval(action, periodMs);
    timer.unref();
    this.#timers.add(timer);
  }

  async #track<T>(action: () => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new Failure('controller-unavailable', 'The agent is closing.');
    const running = action();
    this.#inFlight.add(running);
    try {
      return await running;
    } finally {
      this.#inFlight.delete(running);
    }
  }
}
