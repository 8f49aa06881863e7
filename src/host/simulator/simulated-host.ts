// The host port without a kernel: for machines where loop devices or mounts cannot be had, and for tests. It keeps the
// port's promises (fence, identity, idempotency, busy devices) and shows the faults of `faults.ts` on request.
//
// A mount is a symbolic link at the wanted path to a plain directory of the simulator's state, which holds the medium's
// bytes: they are there again at the next mount of the same medium, and never at that of a newer generation. Without a
// state directory everything is in memory and paths are only remembered.

import { randomUUID } from 'node:crypto';
import { lstat, mkdir, readdir, readlink, rm, rmdir, symlink, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { limits } from '../../config/limits.ts';
import { assert, Failure } from '../../domain/errors.ts';
import type { Port } from '../../domain/host.ts';
import type { FilesystemType } from '../../domain/volume.ts';
import { synthesizeWwpn } from '../../domain/wwpn.ts';
import { KeyedLock } from '../../system/keyed-lock.ts';
import { RecordLog } from '../../system/record-log.ts';
import { systemCodeOf } from '../../system/system-call-error.ts';
import type {
  Device,
  DeviceProof,
  DeviceTarget,
  Host,
  HostCapabilities,
  HostIdentity,
  HostInventory,
  MountOptions,
  ProvedDevice,
} from '../host.ts';
import { makeMountPoint, mountPointFailure, takenMountPoint } from '../mount-point.ts';
import { HostFaults } from './faults.ts';
import { believingFabric, type SimulatedFabric } from './simulated-fabric.ts';
import { keyOf, type SimulatedDevice, type SimulatedRecord, SimulatedState } from './simulated-state.ts';

export interface SimulatedHostOptions {
  /** Where state and bytes are kept over restarts; none: in memory. */
  readonly directory?: string;
  readonly fabric?: SimulatedFabric;
  readonly machineId?: string;
  /** Of the machine: another one than at the last start is a reboot, which ends devices and mounts. */
  readonly bootId?: string;
  readonly ports?: readonly Port[];
  /** Why this machine is simulated, for people. */
  readonly reasons?: readonly string[];
}

type Append = (records: readonly SimulatedRecord[]) => Promise<void>;

interface Parts {
  readonly options: SimulatedHostOptions;
  readonly state: SimulatedState;
  readonly append: Append;
  readonly closeLog: () => Promise<void>;
}

export class SimulatedHost implements Host {
  readonly capabilities: HostCapabilities;
  readonly faults = new HostFaults();
  readonly #options: SimulatedHostOptions;
  readonly #state: SimulatedState;
  readonly #append: Append;
  readonly #closeLog: () => Promise<void>;
  readonly #fabric: SimulatedFabric;
  readonly #locks = new KeyedLock();
  #sequence = Number(process.hrtime.bigint() / 1000n);

  private constructor({ options, state, append, closeLog }: Parts) {
    const reasons = options.reasons ?? [];
    this.capabilities = { simulated: true, loop: false, mount: false, fibreChannel: false, reasons };
    this.#options = options;
    this.#state = state;
    this.#append = append;
    this.#closeLog = closeLog;
    this.#fabric = options.fabric ?? believingFabric;
  }

  static async open(options: SimulatedHostOptions = {}): Promise<SimulatedHost> {
    const state = new SimulatedState();
    const parts = options.directory === undefined ? inMemory(state) : await onDisk(state, options.directory);
    const host = new SimulatedHost({ options, state, ...parts });
    const bootId = options.bootId ?? state.bootId ?? randomUUID();
    if (bootId !== state.bootId) await host.reboot(bootId);
    return host;
  }

  discoverPorts(): Promise<readonly Port[]> {
    return this.faults.around('discoverPorts', async () => this.#options.ports ?? [this.#synthesizedPort()]);
  }

  identity(): Promise<HostIdentity> {
    return this.faults.around('identity', async () => ({ machineId: this.#machineId(), bootId: this.#bootId() }));
  }

  attach(target: DeviceTarget): Promise<ProvedDevice> {
    return this.#guarded('attach', target, async () => {
      await this.#refuseOtherMedium(target);
      const present = this.#state.devices.get(keyOf(target));
      const readOnly = target.accessMode === 'read-only-many';
      if (present !== undefined && present.readOnly === readOnly) return provedDevice(present, target);
      const { volumeId, mediaGeneration } = target;
      const number = present?.number ?? this.#state.takeNumber();
      const device: SimulatedDevice = { volumeId, mediaGeneration, number, readOnly };
      await this.#append([{ kind: 'device', device }]);
      return provedDevice(device, target);
    });
  }

  format(device: Device, target: DeviceTarget, _filesystem: FilesystemType): Promise<void> {
    return this.#guarded('format', target, async () => {
      await this.#proved(device, target);
      const bytes = this.#bytesOf(target);
      if (bytes !== null) await rm(bytes, { recursive: true, force: true });
    });
  }

  mount(device: Device, target: DeviceTarget, options: MountOptions): Promise<void> {
    return this.#guarded('mount', target, async () => {
      const { readOnly } = await this.#proved(device, target);
      const { path } = options;
      const present = this.#state.mounts.get(path);
      if (present !== undefined && keyOf(present) !== keyOf(target)) {
        throw takenMountPoint(path, `already shows volume ${present.volumeId}`);
      }
      const bytes = this.#bytesOf(target);
      if (bytes !== null) await showBytes(bytes, path, readOnly || options.readOnly ? undefined : options.mode);
      const { volumeId, mediaGeneration } = target;
      await this.#append([{ kind: 'mount', mount: { path, volumeId, mediaGeneration, foreignNamespace: false } }]);
    });
  }

  unmount(path: string): Promise<void> {
    return this.faults.around('unmount', async () => {
      const present = this.#state.mounts.get(path);
      if (present !== undefined && !present.foreignNamespace) await this.#unmountOne(path);
    });
  }

  detach(target: DeviceTarget): Promise<DeviceProof> {
    return this.#guarded('detach', target, async () => {
      const mounts = [...this.#state.mounts.values()].filter((mount) => keyOf(mount) === keyOf(target));
      for (const mount of mounts) if (!mount.foreignNamespace) await this.#unmountOne(mount.path);
      const held = mounts.find((mount) => mount.foreignNamespace);
      if (held !== undefined) throw new Failure('device-busy', `Another mount namespace shows it at ${held.path}.`);
      const { volumeId, mediaGeneration } = target;
      if (this.#state.devices.has(keyOf(target))) {
        await this.#append([{ kind: 'device-gone', volumeId, mediaGeneration }]);
      }
      return proofOf('gone', target, null);
    });
  }

  servedEpoch(volumeId: string): number {
    return this.#state.epochs.get(volumeId) ?? 0;
  }

  servedVolumes(): Iterable<string> {
    return this.#state.epochs.keys();
  }

  forgetEpochs(volumeIds: readonly string[] = [...this.servedVolumes()]): Promise<void> {
    return this.#append([{ kind: 'epochs-forgotten', volumeIds }]);
  }

  inventory(): Promise<HostInventory> {
    return this.faults.around('inventory', async () => {
      this.#sequence += 1;
      const devices = [...this.#state.devices.values()];
      const mounts = [...this.#state.mounts.values()];
      return {
        bootId: this.#bootId(),
        sequence: this.#sequence,
        devices: devices.map((device) => ({ ...mediumIn(device), path: pathOf(device), deleted: false })),
        mounts: mounts.flatMap(({ path, volumeId, mediaGeneration, foreignNamespace }) => {
          const device = this.#state.devices.get(keyOf({ volumeId, mediaGeneration }));
          return device === undefined ? [] : [{ device: pathOf(device), volumeId, path, foreignNamespace }];
        }),
      };
    });
  }

  close(): Promise<void> {
    return this.#closeLog();
  }

  /** Devices and mounts end, as when the machine restarts; what was written to a medium stays. */
  async reboot(bootId: string = randomUUID()): Promise<void> {
    for (const mount of this.#state.mounts.values()) await this.#hideBytes(mount.path);
    await this.#append([{ kind: 'boot', bootId }]);
  }

  /** A container's mount namespace keeps the medium: detach is refused until `releaseForeign`. */
  async holdForeign(target: DeviceTarget, path: string): Promise<void> {
    const { volumeId, mediaGeneration } = target;
    await this.#append([{ kind: 'mount', mount: { path, volumeId, mediaGeneration, foreignNamespace: true } }]);
  }

  async releaseForeign(path: string): Promise<void> {
    await this.#append([{ kind: 'mount-gone', path }]);
  }

  #guarded<T>(method: 'attach' | 'format' | 'mount' | 'detach', target: DeviceTarget, work: () => Promise<T>) {
    return this.faults.around(method, () =>
      this.#locks.run(target.volumeId, limits.hostLockMs, async () => {
        await this.#passFence(target);
        return await work();
      }),
    );
  }

  async #passFence({ volumeId, epoch }: DeviceTarget): Promise<void> {
    const highest = this.servedEpoch(volumeId);
    if (epoch < highest) throw new Failure('stale-epoch', `Epoch ${epoch} is over; this host has seen ${highest}.`);
    if (epoch > highest) await this.#append([{ kind: 'epoch', volumeId, epoch }]);
  }

  async #refuseOtherMedium(target: DeviceTarget): Promise<void> {
    if (target.paths.length === 0) throw new Failure('host-unreachable-paths', `${target.volumeId} has no path.`);
    for (const path of target.paths) {
      const found = await this.#fabric(path, mediumIn(target));
      if (found === 'absent') throw new Failure('device-error', `Nothing is exported at LUN ${path.lun}.`);
      if (keyOf(found) === keyOf(target)) continue;
      throw new Failure('identity-mismatch', `LUN ${path.lun} leads to ${keyOf(found)} instead of ${keyOf(target)}.`);
    }
  }

  async #proved(device: Device, target: DeviceTarget): Promise<SimulatedDevice> {
    await this.#refuseOtherMedium(target);
    const present = this.#state.devices.get(keyOf(target));
    if (present !== undefined && pathOf(present) === device.path) return present;
    throw new Failure('identity-mismatch', `${device.path} is not ${keyOf(target)}.`);
  }

  async #unmountOne(path: string): Promise<void> {
    await this.#hideBytes(path);
    await this.#append([{ kind: 'mount-gone', path }]);
  }

  async #hideBytes(path: string): Promise<void> {
    if (this.#options.directory !== undefined) await hideBytes(path, this.#options.directory);
  }

  /** The directory with the medium's bytes. */
  #bytesOf(target: DeviceTarget): string | null {
    return this.#options.directory === undefined ? null : join(this.#options.directory, 'media', keyOf(target));
  }

  #synthesizedPort(): Port {
    return { wwpn: synthesizeWwpn({ seed: this.#machineId() }), fabric: 'local', state: 'online', synthesized: true };
  }

  #machineId(): string {
    return this.#options.machineId ?? 'simulated';
  }

  #bootId(): string {
    assert(this.#state.bootId !== null, 'simulated-host-boot-id');
    return this.#state.bootId;
  }
}

function inMemory(state: SimulatedState) {
  const append: Append = async (records) => {
    for (const record of records) state.apply(record);
  };
  return { append, closeLog: async () => {} };
}

async function onDisk(state: SimulatedState, directory: string) {
  await mkdir(join(directory, 'media'), { recursive: true, mode: 0o700 });
  const log = await RecordLog.open(join(directory, 'host.log'), state);
  const append: Append = (records) => log.append(records);
  return { append, closeLog: () => log.close() };
}

function mediumIn({ volumeId, mediaGeneration }: { readonly volumeId: string; readonly mediaGeneration: number }) {
  return { volumeId, mediaGeneration };
}

function pathOf(device: SimulatedDevice): string {
  return `/dev/simulated${device.number}`;
}

function provedDevice(device: SimulatedDevice, target: DeviceTarget): ProvedDevice {
  const path = pathOf(device);
  return { path, proof: proofOf('present', target, path) };
}

function proofOf(kind: DeviceProof['kind'], target: DeviceTarget, device: string | null): DeviceProof {
  return { kind, method: 'simulated', device, ...mediumIn(target) };
}

async function showBytes(bytes: string, path: string, mode: number | undefined): Promise<void> {
  await mkdir(bytes, { recursive: true, ...(mode === undefined ? {} : { mode }) });
  makeMountPoint(path);
  if ((await linkTarget(path)) === bytes) return;
  try {
    await removeEmptyDirectory(path);
    await symlink(bytes, path);
  } catch (error) {
    throw mountPointFailure(path, error);
  }
}

async function removeEmptyDirectory(path: string): Promise<void> {
  const present = await lstat(path).catch((error: unknown) => {
    if (systemCodeOf(error) === 'ENOENT') return null;
    throw error;
  });
  if (present === null) return;
  if (!present.isDirectory() || (await readdir(path)).length > 0) {
    throw takenMountPoint(path, 'is not an empty directory');
  }
  await rmdir(path);
}

/** Leaves an empty directory, as an unmount does. */
async function hideBytes(path: string, directory: string): Promise<void> {
  const target = await linkTarget(path);
  if (target === null || !target.startsWith(`${directory}/`)) return;
  await unlink(path);
  await mkdir(path, { recursive: true });
}

async function linkTarget(path: string): Promise<string | null> {
  try {
    return await readlink(path);
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'ENOENT' || code === 'EINVAL') return null;
    throw error;
  }
}
