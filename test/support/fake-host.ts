/**
 * One machine in memory, behind the host port: devices, mounts, a highest epoch per volume, and its mistakes counted.
 *
 * Faults it can show: a busy path, a device held by another mount namespace, an unreadable inventory, a call that
 * fails before or after its effect, a reboot. Formatting a device that had a filesystem, and mounting one that has none, are kept as `violations`.
 */
import { Failure } from '../../src/domain/errors.ts';
import type { Port } from '../../src/domain/host.ts';
import type {
  Device,
  DeviceProof,
  DeviceTarget,
  Host,
  HostCapabilities,
  HostIdentity,
  HostInventory,
  MountFound,
  MountOptions,
  ProvedDevice,
} from '../../src/host/host.ts';

interface FakeDevice {
  readonly path: string;
  readonly volumeId: string;
  readonly mediaGeneration: number;
}

export class FakeHost implements Host {
  readonly capabilities: HostCapabilities = {
    ...{ simulated: true, loop: false, mount: false, fibreChannel: false },
    reasons: ['a fake'],
  };
  readonly devices: FakeDevice[] = [];
  readonly mounts: MountFound[] = [];
  /** Media with a filesystem, `<volume>@<media generation>`; they survive a reboot. */
  readonly formatted = new Set<string>();
  readonly calls: string[] = [];
  readonly violations: string[] = [];
  readonly busyPaths = new Set<string>();
  readonly heldVolumes = new Set<string>();
  readonly failing = new Map<string, Failure>();
  /** The call takes effect, and then fails. */
  readonly failingLate = new Map<string, Failure>();
  onAttach: (target: DeviceTarget) => void = () => {};
  unreadable = false;
  #boot = 1;
  #sequence = 0;
  #loops = 0;
  readonly #highestEpoch = new Map<string, number>();

  reboot(): void {
    this.#boot += 1;
    this.devices.length = 0;
    this.mounts.length = 0;
  }

  discoverPorts(): Promise<readonly Port[]> {
    return this.#do('discoverPorts', () => [
      { wwpn: '20:00:02:00:00:00:00:01', fabric: 'local', state: 'online', synthesized: true },
    ]);
  }

  identity(): Promise<HostIdentity> {
    return this.#do('identity', () => ({ machineId: 'machine', bootId: `boot-${this.#boot}` }));
  }

  attach(target: DeviceTarget): Promise<ProvedDevice> {
    return this.#do('attach', () => {
      this.#fence(target);
      const present = this.#deviceOf(target);
      if (present !== undefined) return { path: present.path, proof: proofOf('present', target, present.path) };
      this.onAttach(target);
      this.#loops += 1;
      const { volumeId, mediaGeneration } = target;
      const device = { path: `/dev/loop${this.#loops}`, volumeId, mediaGeneration };
      this.devices.push(device);
      return { path: device.path, proof: proofOf('present', target, device.path) };
    });
  }

  format(_device: Device, target: DeviceTarget): Promise<void> {
    return this.#do('format', () => {
      if (this.mounts.some((mount) => mount.volumeId === target.volumeId))
        this.violations.push('formatted while mounted');
      this.formatted.add(mediumOf(target));
    });
  }

  mount(device: Device, target: DeviceTarget, options: MountOptions): Promise<void> {
    return this.#do('mount', () => {
      const there = this.mounts.find((mount) => mount.path === options.path && !mount.foreignNamespace);
      if (there?.volumeId === target.volumeId) return;
      if (there !== undefined) throw new Failure('mount-path-busy', `${options.path} is not free`);
      if (!this.formatted.has(mediumOf(target))) this.violations.push('mounted without a filesystem');
      const { volumeId } = target;
      this.mounts.push({ device: device.path, volumeId, path: options.path, foreignNamespace: false });
    });
  }

  unmount(path: string): Promise<void> {
    return this.#do('unmount', () => {
      if (this.busyPaths.has(path)) throw new Failure('device-busy', `${path} is held by process 42`);
      this.#removeMounts((mount) => mount.path === path && !mount.foreignNamespace);
    });
  }

  detach(target: DeviceTarget): Promise<DeviceProof> {
    return this.#do('detach', () => {
      this.#fence(target);
      const { volumeId } = target;
      const busy = this.mounts.find((mount) => mount.volumeId === volumeId && this.busyPaths.has(mount.path));
      if (busy !== undefined) throw new Failure('device-busy', `${busy.path} is held by process 42`);
      this.#removeMounts((mount) => mount.volumeId === volumeId);
      if (this.heldVolumes.has(volumeId)) throw new Failure('device-busy', 'held by the mount namespace of process 42');
      const at = this.devices.findIndex((device) => device.volumeId === volumeId);
      const [device] = at < 0 ? [] : this.devices.splice(at, 1);
      return proofOf('gone', target, device?.path ?? null);
    });
  }

  servedEpoch(volumeId: string): number {
    return this.#highestEpoch.get(volumeId) ?? 0;
  }

  servedVolumes(): Iterable<string> {
    return this.#highestEpoch.keys();
  }

  forgetEpochs(volumeIds: readonly string[] = [...this.servedVolumes()]): Promise<void> {
    return this.#do('forgetEpochs', () => {
      for (const volumeId of volumeIds) this.#highestEpoch.delete(volumeId);
    });
  }

  inventory(): Promise<HostInventory> {
    return this.#do('inventory', () => {
      if (this.unreadable) throw new Failure('device-error', 'the devices cannot be read');
      this.#sequence += 1;
      return {
        bootId: `boot-${this.#boot}`,
        sequence: this.#sequence,
        devices: this.devices.map((device) => ({ ...device, deleted: false })),
        mounts: [...this.mounts],
      };
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #do<T>(call: string, act: () => T): Promise<T> {
    this.calls.push(call);
    await new Promise((resolve) => setImmediate(resolve));
    const failure = this.failing.get(call);
    if (failure !== undefined) throw failure;
    const answer = act();
    const late = this.failingLate.get(call);
    if (late !== undefined) throw late;
    return answer;
  }

  /** Another epoch of the volume has been served here. */
  raiseEpoch(volumeId: string, epoch: number): void {
    this.#highestEpoch.set(volumeId, epoch);
  }

  #fence({ volumeId, epoch }: DeviceTarget): void {
    const highest = this.servedEpoch(volumeId);
    if (epoch < highest) throw new Failure('stale-epoch', `${volumeId} is at epoch ${highest}`);
    this.#highestEpoch.set(volumeId, epoch);
  }

  #deviceOf(target: DeviceTarget): FakeDevice | undefined {
    const { volumeId, mediaGeneration } = target;
    return this.devices.find((each) => each.volumeId === volumeId && each.mediaGeneration === mediaGeneration);
  }

  #removeMounts(matches: (mount: MountFound) => boolean): void {
    const kept = this.mounts.filter((mount) => !matches(mount));
    this.mounts.splice(0, this.mounts.length, ...kept);
  }
}

export function mediumOf(medium: { readonly volumeId: string; readonly mediaGeneration: number }): string {
  return `${medium.volumeId}@${medium.mediaGeneration}`;
}

function proofOf(kind: DeviceProof['kind'], target: DeviceTarget, device: string | null): DeviceProof {
  const { volumeId, mediaGeneration } = target;
  return { kind, method: 'fake', device, volumeId, mediaGeneration };
}
