// The host port on a real Linux machine, for media of the local fabric: loop devices on the files that the exporter's
// links lead to, mounted below the state directory and shown at the wanted paths.
//
// Owns the durable fence (highest epoch seen of each volume), one lock per volume, and what it remembers of devices. The
// memory only saves scans: every device is proved again by the kernel's word before it is used. Whoever holds a volume's
// lock keeps it until its call into the kernel has really returned, so a late one never lands beside a newer one.
//
// Relies on: the state and exports directories belong to one instance; the kernel calls run on blocking threads.

import { realpath, stat } from 'node:fs/promises';
import { isAbsolute, join, normalize } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { limits } from '../../config/limits.ts';
import { assert, Failure } from '../../domain/errors.ts';
import type { Port } from '../../domain/host.ts';
import type { FilesystemType } from '../../domain/volume.ts';
import { BlockingPool, siblingModule } from '../../system/blocking-pool.ts';
import { type RunCommand, runCommand } from '../../system/command.ts';
import { configuredDirectory, errorCode, isAbsent } from '../../system/durable-file.ts';
import { makeFilesystemSeed } from '../../system/filesystem-seed.ts';
import { HighWaterLog } from '../../system/high-water-log.ts';
import type { Log } from '../../telemetry/log.ts';
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
import { linkOf } from '../local-medium.ts';
import { probeCapabilities } from './capabilities.ts';
import { DeviceMemory } from './device-memory.ts';
import { discoverPorts, localFabric, readIdentity } from './identity.ts';
import { inventoryOf, unmountedLoops } from './inventory.ts';
import type {
  AttachAnswer,
  AttachRequest,
  DetachCall,
  Findings,
  FormatStart,
  MountRequest,
  ProveRequest,
} from './kernel-calls.ts';
import { type KernelCall, KernelGate } from './kernel-gate.ts';
import { devicePath, type LoopFound, type Surroundings } from './loop-device.ts';
import { makeFilesystem } from './mkfs.ts';

export interface LinuxHostOptions {
  /** Where the exporter makes `<target WWPN>/<initiator WWPN>/<LUN>` links. */
  readonly exportsDirectory: string;
  /** Where the backing files are: a loop device on a file below it is ours. */
  readonly volumesDirectory: string;
  /** The fence and the filesystem mounts. */
  readonly stateDirectory: string;
  /** Stands before /sys, /proc and /etc; a captured tree in tests. */
  readonly root?: string;
  readonly threads?: number;
  readonly runCommand?: RunCommand;
  readonly callDeadlineMs?: number;
  readonly lockDeadlineMs?: number;
  readonly formatDeadlineMs?: number;
  /** How long a detach waits for a device that is busy for a moment. */
  readonly busyDeadlineMs?: number;
  readonly log?: Pick<Log, 'warn'>;
}

type Settings = Required<LinuxHostOptions>;

interface Parts {
  readonly settings: Settings;
  readonly pool: BlockingPool;
  readonly fence: HighWaterLog;
  readonly capabilities: HostCapabilities;
  readonly loops: readonly LoopFound[];
  readonly seed: string;
}

export class LinuxHost implements Host {
  readonly capabilities: HostCapabilities;
  readonly #settings: Settings;
  readonly #at: Surroundings;
  readonly #gate: KernelGate;
  readonly #fence: HighWaterLog;
  readonly #seed: string;
  readonly #memory: DeviceMemory;
  #sequence = 0;

  private constructor({ settings, pool, fence, capabilities, loops, seed }: Parts) {
    this.capabilities = capabilities;
    this.#settings = settings;
    this.#at = surroundingsOf(settings);
    const { callDeadlineMs, lockDeadlineMs } = settings;
    this.#gate = new KernelGate({ pool, callDeadlineMs, lockDeadlineMs });
    this.#fence = fence;
    this.#seed = seed;
    this.#memory = new DeviceMemory(loops);
  }

  /** Makes the state directory, probes what this machine can do, and learns which devices are there already. */
  static async open(options: LinuxHostOptions): Promise<LinuxHost> {
    const settings = await settingsOf(options);
    configuredDirectory(join(settings.stateDirectory, 'mnt'));
    const moduleUrl = siblingModule(import.meta.url, './kernel-calls');
    const pool = new BlockingPool({ moduleUrl, threads: settings.threads });
    try {
      const capabilities = await probeCapabilities(pool, settings);
      const at = surroundingsOf(settings);
      const loops = await pool.run<LoopFound[]>('findLoops', [at], { deadlineMs: settings.callDeadlineMs });
      const seed = await makeFilesystemSeed(settings.stateDirectory);
      const fence = await HighWaterLog.open(join(settings.stateDirectory, 'epochs.log'));
      return new LinuxHost({ settings, pool, fence, capabilities, loops, seed });
    } catch (error) {
      await pool.close();
      throw error;
    }
  }

  /** The port of the local fabric leads somewhere only where a storage node of this machine keeps its exports. */
  async discoverPorts(): Promise<readonly Port[]> {
    const ports = await discoverPorts(this.#settings.root);
    if (await this.#hasExports()) return ports;
    return ports.map((port) => (port.fabric === localFabric ? { ...port, state: 'offline' } : port));
  }

  /** Where the way there is barred, nothing can be attached by it; the machine's other ports are told all the same. */
  async #hasExports(): Promise<boolean> {
    const { exportsDirectory, log } = this.#settings;
    try {
      return (await stat(exportsDirectory)).isDirectory();
    } catch (error) {
      if (isAbsent(error)) return false;
      if (!barredCodes.includes(errorCode(error))) throw error;
      log.warn({ err: error }, 'exports of this machine cannot be reached: its local port is offline');
      return false;
    }
  }

  identity(): Promise<HostIdentity> {
    return readIdentity(this.#settings.root);
  }

  /** The fence is raised beside it: a crash between the two leaves a device that was never answered. */
  attach(target: DeviceTarget): Promise<ProvedDevice> {
    return this.#gate.underLocks([volumeKey(target.volumeId)], async (call) => {
      this.#refuseStale(target);
      const ends = [this.#attachAlone(target, call), this.#raiseFence(target)] as const;
      await Promise.allSettled(ends);
      return (await Promise.all(ends))[0];
    });
  }

  async #attachAlone(target: DeviceTarget, call: KernelCall): Promise<ProvedDevice> {
    const known = this.#memory.of(target);
    const request: AttachRequest = {
      ...this.#medium(target),
      sizeBytes: target.sizeBytes,
      readOnly: isReadOnly(target),
      expected: known.numbers,
    };
    const learn = (made: AttachAnswer) => this.#gate.discard(this.#memory.attached(target, made));
    const answer = await call<AttachAnswer>('attachDevice', request, { onLate: learn });
    await learn(answer);
    const path = devicePath(answer.number);
    return { path, proof: proofOf('present', 'loop-backing-inode', target, path) };
  }

  format(device: Device, target: DeviceTarget, filesystem: FilesystemType): Promise<void> {
    return this.#locked(target, async (call) => {
      const lockDescriptor = await this.#volumeLock(target, call);
      const descriptors = [lockDescriptor];
      try {
        const { deviceDescriptor, isBlank } = await call<FormatStart>('formatBegin', this.#proof(device, target), {
          onLate: (late) => this.#gate.discard([late.deviceDescriptor]),
        });
        descriptors.push(deviceDescriptor);
        const { runCommand: run, formatDeadlineMs: deadlineMs } = this.#settings;
        const program = { run, deadlineMs, seed: this.#seed };
        await makeFilesystem({ ...program, devicePath: device.path, filesystem, lockDescriptor, isBlank });
        await call('formatSync', deviceDescriptor, { deadlineMs });
      } finally {
        await this.#gate.discard(descriptors);
      }
    });
  }

  mount(device: Device, target: DeviceTarget, options: MountOptions): Promise<void> {
    const path = checkedPath(options.path);
    const keys = [volumeKey(target.volumeId), pathKey(path)];
    return this.#gate.underLocks(keys, async (call, afterwards) => {
      await this.#passFence(target);
      const { filesystem, readOnly, ...owner } = options;
      const request: MountRequest = {
        ...this.#proof(device, target),
        base: this.#base(target),
        filesystem,
        shown: { ...owner, path, readOnly: readOnly || isReadOnly(target) },
      };
      await call('mountVolume', request);
      this.#memory.shown(target, path);
      afterwards(() => this.#gate.discard(this.#memory.takeHeld(target)));
    });
  }

  unmount(given: string): Promise<void> {
    const path = checkedPath(given);
    return this.#gate.underLocks([pathKey(path)], async (call) => {
      await call('unmountShown', { at: this.#at, path }, { deadlineMs: limits.hostDetachMs });
      this.#memory.hidden(path);
    });
  }

  detach(target: DeviceTarget): Promise<DeviceProof> {
    return this.#locked(target, async (call) => {
      await this.#gate.discard(this.#memory.takeHeld(target));
      const known = this.#memory.of(target);
      const request: DetachCall = {
        ...this.#medium(target),
        file: known.file,
        expected: known.numbers,
        base: this.#base(target),
        shown: [...known.shown],
      };
      await patiently(this.#settings.busyDeadlineMs, () =>
        call('detachDevice', request, { deadlineMs: limits.hostDetachMs }),
      );
      this.#memory.forget(target);
      return proofOf('gone', 'exclusive-open-and-no-backing', target, null);
    });
  }

  servedEpoch(volumeId: string): number {
    return this.#fence.get(volumeId) ?? 0;
  }

  servedVolumes(): Iterable<string> {
    return this.#fence.keys();
  }

  forgetEpochs(volumeIds: readonly string[] = [...this.#fence.keys()]): Promise<void> {
    return this.#fence.forget(volumeIds);
  }

  async inventory(): Promise<HostInventory> {
    const sequence = this.#nextSequence();
    const { bootId } = await this.identity();
    const findings = await this.#gate.underLocks([], (call) => call<Findings>('findEverything', this.#at));
    const held = await this.#heldInvisibly(findings);
    return inventoryOf(findings, { bootId, sequence, held, baseDirectory: join(this.#settings.stateDirectory, 'mnt') });
  }

  async close(): Promise<void> {
    await this.#gate.discard(this.#memory.takeAllHeld());
    await this.#gate.close();
    await this.#fence.close();
  }

  #locked<T>(target: DeviceTarget, work: (call: KernelCall) => Promise<T>): Promise<T> {
    return this.#gate.underLocks([volumeKey(target.volumeId)], async (call) => {
      await this.#passFence(target);
      return await work(call);
    });
  }

  /** Devices without a visible mount that are in use all the same. A volume that is being worked on is left alone. */
  async #heldInvisibly(findings: Findings): Promise<ReadonlySet<number>> {
    const quiet = unmountedLoops(findings).filter(({ volumeId }) => this.#gate.isFree(volumeKey(volumeId)));
    const held = await Promise.all(
      quiet.map(({ volumeId, number }) =>
        this.#gate.underLocks([volumeKey(volumeId)], (call) => call<boolean>('isDeviceHeld', number)),
      ),
    );
    return new Set(quiet.filter((_, index) => held[index] === true).map(({ number }) => number));
  }

  async #passFence(target: DeviceTarget): Promise<void> {
    this.#refuseStale(target);
    await this.#raiseFence(target);
  }

  #refuseStale({ volumeId, epoch }: DeviceTarget): void {
    const highest = this.servedEpoch(volumeId);
    if (epoch >= highest) return;
    throw new Failure('stale-epoch', `Epoch ${epoch} of ${volumeId} is over; this host has seen ${highest}.`);
  }

  async #raiseFence({ volumeId, epoch }: DeviceTarget): Promise<void> {
    if (epoch > this.servedEpoch(volumeId)) await this.#fence.raise([{ key: volumeId, value: epoch }]);
  }

  /** Whoever changes the volume's bytes now, an orphan of an earlier process included, ends first or we refuse. */
  async #volumeLock({ volumeId }: DeviceTarget, call: KernelCall): Promise<number> {
    const path = join(this.#at.volumesDirectory, 'locks', `${volumeId}.lock`);
    const end = performance.now() + this.#settings.lockDeadlineMs;
    const onLate = (late: number | null) => this.#gate.discard(late === null ? [] : [late]);
    for (;;) {
      const descriptor = await call<number | null>('tryVolumeLock', path, { onLate });
      if (descriptor !== null) return descriptor;
      if (performance.now() > end) throw new Failure('device-busy', `Something still writes to volume ${volumeId}.`);
      await sleep(limits.hostLockPollMs);
    }
  }

  #medium(target: DeviceTarget) {
    const { volumeId, mediaGeneration } = target;
    const links = target.paths.map((path) => linkOf(this.#settings.exportsDirectory, path));
    return { volumeId, mediaGeneration, at: this.#at, links };
  }

  #proof(device: Device, target: DeviceTarget): ProveRequest {
    const digits = /^\/dev\/loop(\d+)$/.exec(device.path)?.[1];
    if (digits === undefined) throw new Failure('identity-mismatch', `${device.path} is not a loop device.`);
    return { ...this.#medium(target), number: Number(digits) };
  }

  #base(target: DeviceTarget): string {
    assert(/^[\w-]+$/.test(target.attachmentId), 'linux-host-attachment-id');
    return join(this.#settings.stateDirectory, 'mnt', target.attachmentId);
  }

  /** Microseconds since boot: rises over restarts of this process, and belongs to the boot id. */
  #nextSequence(): number {
    this.#sequence = Math.max(this.#sequence + 1, Number(process.hrtime.bigint() / 1000n));
    return this.#sequence;
  }
}

async function settingsOf(options: LinuxHostOptions): Promise<Settings> {
  const [volumesDirectory, stateDirectory] = await Promise.all([
    existingPath(options.volumesDirectory),
    existingPath(options.stateDirectory),
  ]);
  return {
    root: '',
    threads: limits.blockingThreads,
    runCommand,
    callDeadlineMs: limits.hostCallMs,
    lockDeadlineMs: limits.hostLockMs,
    formatDeadlineMs: limits.hostFormatMs,
    busyDeadlineMs: limits.hostBusyMs,
    log: { warn: () => undefined },
    ...options,
    volumesDirectory,
    stateDirectory,
  };
}

/** The kernel shows paths without symbolic links, and what it shows is compared. */
async function existingPath(path: string): Promise<string> {
  configuredDirectory(path);
  return await realpath(path);
}

const barredCodes: readonly (string | undefined)[] = ['EACCES', 'EPERM', 'ELOOP', 'ENOTDIR'];

function surroundingsOf({ root, volumesDirectory }: Settings): Surroundings {
  return { root, volumesDirectory };
}

/** Volumes are locked before paths. */
function volumeKey(volumeId: string): string {
  return `volume ${volumeId}`;
}

function pathKey(path: string): string {
  return `path ${path}`;
}

function isReadOnly(target: DeviceTarget): boolean {
  return target.accessMode === 'read-only-many';
}

/**
 * Devices are busy for moments: a starting container has a copy of every mount until it has changed its root, a device
 * manager opens what it hears of. Waited for here, not on a thread, which others need; and from the first refusal on,
 * since a call may have stood in line for longer than that before.
 */
async function patiently(deadlineMs: number, work: () => Promise<unknown>): Promise<void> {
  let end: number | null = null;
  for (let pauseMs = limits.hostBusyPauseMs; ; pauseMs *= 2) {
    try {
      await work();
      return;
    } catch (error) {
      const isBusy = error instanceof Failure && error.code === 'device-busy';
      end ??= performance.now() + deadlineMs;
      if (!isBusy || performance.now() + pauseMs > end) throw error;
    }
    await sleep(pauseMs);
  }
}

function checkedPath(path: string): string {
  if (isAbsolute(path) && path !== '/' && !path.includes('\0')) return normalize(path).replace(/\/$/, '');
  throw new Failure('invalid-request', `${JSON.stringify(path)} is not an absolute path to mount at.`, {
    field: 'path',
  });
}

function proofOf(kind: DeviceProof['kind'], method: string, target: DeviceTarget, device: string | null): DeviceProof {
  const { volumeId, mediaGeneration } = target;
  return { kind, method, device, volumeId, mediaGeneration };
}
