/** Who hears what the agent does and how long it took; the metrics, or nobody. */
import type { ErrorCode } from '../domain/errors.ts';
import type { Host } from '../host/host.ts';
import type { ControllerPort } from './controller-port.ts';
import type { VolumeOutcome } from './volume-settle.ts';

export type MountAction = 'mount' | 'unmount';

/** What mounts and unmounts are made of, by who does it: the controller (`export`, `unexport`, `report`) or this host. */
export const mountPhases = [
  ...(['export', 'report', 'attach', 'format', 'mount'] as const),
  ...(['unmount', 'detach', 'unexport'] as const),
] as const;
export type MountPhase = (typeof mountPhases)[number];

export interface AgentObserver {
  phaseTook(phase: MountPhase, durationMs: number): void;
  /** The whole of what somebody asked for; `problem` null: it was done. */
  actionEnded(action: MountAction, problem: ErrorCode | null, durationMs: number): void;
  reconciled(run: {
    readonly succeeded: boolean;
    readonly durationMs: number;
    readonly volumes: Readonly<Record<VolumeOutcome, number>>;
  }): void;
}

export const silentObserver: AgentObserver = {
  phaseTook: () => undefined,
  actionEnded: () => undefined,
  reconciled: () => undefined,
};

/** The host, with the time of each phase told. Failures take time too, and count. */
export function observedHost(host: Host, observer: AgentObserver): Host {
  const timed = timer(observer);
  return {
    get capabilities() {
      return host.capabilities;
    },
    discoverPorts: () => host.discoverPorts(),
    identity: () => host.identity(),
    attach: (target) => timed('attach', host.attach(target)),
    format: (device, target, filesystem) => timed('format', host.format(device, target, filesystem)),
    mount: (device, target, options) => timed('mount', host.mount(device, target, options)),
    unmount: (path) => timed('unmount', host.unmount(path)),
    detach: (target) => timed('detach', host.detach(target)),
    servedEpoch: (volumeId) => host.servedEpoch(volumeId),
    servedVolumes: () => host.servedVolumes(),
    forgetEpochs: (volumeIds) => host.forgetEpochs(volumeIds),
    inventory: () => host.inventory(),
    close: () => host.close(),
  };
}

export function observedController(port: ControllerPort, observer: AgentObserver): ControllerPort {
  const timed = timer(observer);
  return {
    hostRegister: (registration) => port.hostRegister(registration),
    volumeGet: (nameOrId) => port.volumeGet(nameOrId),
    attachmentCreate: (request) => timed('export', port.attachmentCreate(request)),
    attachmentGet: (id) => port.attachmentGet(id),
    attachmentList: (filter) => port.attachmentList(filter),
    attachmentDelete: (id, gone) => timed('unexport', port.attachmentDelete(id, gone)),
    hostStateReport: (report) => timed('report', port.hostStateReport(report)),
    inventoryBegin: (host) => port.inventoryBegin(host),
    inventoryReport: (report) => port.inventoryReport(report),
  };
}

function timer(observer: AgentObserver): <T>(phase: MountPhase, work: Promise<T>) => Promise<T> {
  return (phase, work) => {
    const began = performance.now();
    return work.finally(() => observer.phaseTook(phase, performance.now() - began));
  };
}
