/**
 * A storage node without bytes: the same contract, in memory, optionally durable, able to fail on request (`faults.ts`).
 *
 * An item takes no promise of its own and no fsync, unless a directory is given (then one append a call). It is part of
 * the product: `standalone` without privileges, load runs and every test of the layers above use it.
 */
import { join } from 'node:path';
import { limits } from '../../config/limits.ts';
import { Failure } from '../../domain/errors.ts';
import { synthesizeWwpn } from '../../domain/wwpn.ts';
import { makeDirectoryDurably } from '../../system/durable-file.ts';
import { RecordLog } from '../../system/record-log.ts';
import { refuseForeign, StampFile } from '../stamp-file.ts';
import type {
  DestroyRequest,
  EffectResult,
  ExportRequest,
  MayAct,
  ProvisionAnswer,
  ProvisionRequest,
  Space,
  StorageNode,
  StorageNodeCapabilities,
  StorageNodeInventory,
  StoreStamp,
  UnexportRequest,
  WipeAnswer,
  WipeRequest,
} from '../storage-node.ts';
import { type CallKind, type Fault, Faults, type InjectedFault } from './faults.ts';
import { type SimulatedRecord, SimulatedState } from './simulated-state.ts';

export interface SimulatedStorageNodeOptions {
  readonly name?: string;
  readonly backends?: readonly string[];
  readonly canFence?: boolean;
  /** False: as if mkfs were missing. */
  readonly formats?: boolean;
  readonly totalBytes?: number;
  /** A volume that was never seen is taken to be there, with the medium that is asked for. */
  readonly assumeExisting?: boolean;
  /** How many volumes `assumeExisting` keeps in memory. */
  readonly volumesHeld?: number;
  readonly mayAct?: MayAct;
}

export interface DurableSimulatorOptions extends SimulatedStorageNodeOptions {
  readonly directory: string;
}

interface Durable {
  readonly log: RecordLog<SimulatedRecord>;
  readonly stampFile: StampFile;
}

interface VolumeItem {
  readonly volumeId: string;
}

type Act<R, T> = (request: R) => EffectResult<T>;

export class SimulatedStorageNode implements StorageNode {
  readonly name: string;
  readonly capabilities: StorageNodeCapabilities;
  readonly #state: SimulatedState;
  readonly #totalBytes: number;
  readonly #mayAct: MayAct;
  readonly #faults = new Faults();
  readonly #lateEffects = new Set<Promise<void>>();
  #durable: Durable | null = null;
  #stamp: StoreStamp | null = null;

  constructor(options: SimulatedStorageNodeOptions = {}) {
    this.name = options.name ?? 'simulated';
    this.#totalBytes = options.totalBytes ?? defaultTotalBytes;
    this.#mayAct = options.mayAct ?? (() => true);
    this.#state = new SimulatedState({
      assumeExisting: options.assumeExisting ?? false,
      volumesHeld: options.volumesHeld ?? limits.simulatorVolumesHeld,
      totalBytes: this.#totalBytes,
      formats: options.formats ?? true,
    });
    const wwpn = synthesizeWwpn({ seed: `simulated target ${this.name}` });
    this.capabilities = {
      backends: options.backends ?? ['simulator', 'file'],
      exporter: 'simulator',
      canFence: options.canFence ?? false,
      targetPorts: [{ wwpn, fabric: 'local', synthesized: true }],
    };
  }

  /** With what was durable in the directory, and durable from then on. */
  static async open({ directory, ...options }: DurableSimulatorOptions): Promise<SimulatedStorageNode> {
    await makeDirectoryDurably(directory);
    const node = new SimulatedStorageNode(options);
    const log = await RecordLog.open(join(directory, 'simulator.log'), node.#state);
    node.#state.beginRecording();
    node.#durable = { log, stampFile: await StampFile.open(join(directory, 'store-stamp.json')) };
    node.#stamp = node.#durable.stampFile.stamp;
    return node;
  }

  /** See `faults.ts`. */
  inject(fault: Fault): InjectedFault {
    return this.#faults.inject(fault);
  }

  /** Resolves when every late effect whose fault was released has been tried. */
  async lateEffectsSettled(): Promise<void> {
    await Promise.all(this.#lateEffects);
  }

  /** How many volumes take memory now. */
  get volumesKnown(): number {
    return this.#state.volumesKnown;
  }

  provision(requests: readonly ProvisionRequest[]): Promise<readonly EffectResult<ProvisionAnswer>[]> {
    return this.#carryOut('provision', requests, (item) => this.#state.provision(item));
  }

  wipe(requests: readonly WipeRequest[]): Promise<readonly EffectResult<WipeAnswer>[]> {
    return this.#carryOut('wipe', requests, (item) => this.#state.wipe(item));
  }

  destroy(requests: readonly DestroyRequest[]): Promise<readonly EffectResult<null>[]> {
    return this.#carryOut('destroy', requests, (item) => this.#state.destroy(item));
  }

  export(requests: readonly ExportRequest[]): Promise<readonly EffectResult<null>[]> {
    return this.#carryOut('export', requests, (item) => this.#state.export(item));
  }

  unexport(requests: readonly UnexportRequest[]): Promise<readonly EffectResult<null>[]> {
    return this.#carryOut('unexport', requests, (item) => this.#state.unexport(item));
  }

  async inventory(): Promise<StorageNodeInventory> {
    const [backend = 'simulator'] = this.capabilities.backends;
    return { media: this.#state.media(backend), exports: this.#state.exports() };
  }

  async stamp(): Promise<StoreStamp | null> {
    const stamp = this.#stamp;
    return stamp && { ...stamp, highestGeneration: Math.max(stamp.highestGeneration, this.#state.highestGeneration) };
  }

  async setStamp(stamp: StoreStamp, options: { readonly adopt?: boolean } = {}): Promise<void> {
    if (!(options.adopt ?? false)) refuseForeign(this.#stamp, stamp);
    await this.#durable?.stampFile.set(stamp, true);
    this.#stamp = stamp;
  }

  async space(): Promise<Space> {
    return { totalBytes: this.#totalBytes, availableBytes: this.#state.availableBytes };
  }

  async close(): Promise<void> {
    await this.#durable?.log.close();
  }

  async #carryOut<R extends VolumeItem, T>(
    kind: CallKind,
    requests: readonly R[],
    act: Act<R, T>,
  ): Promise<readonly EffectResult<T>[]> {
    if (!this.#mayAct()) throw new Failure('storage-node-unavailable', `Storage node ${this.name} may not act now.`);
    const results = this.#faults.isEmpty ? requests.map(act) : await this.#carryOutFaulty(kind, requests, act);
    await this.#save();
    return results;
  }

  async #carryOutFaulty<R extends VolumeItem, T>(
    kind: CallKind,
    requests: readonly R[],
    act: Act<R, T>,
  ): Promise<EffectResult<T>[]> {
    const results: EffectResult<T>[] = [];
    let isUnknown = false;
    for (const request of requests) {
      const injected = this.#faults.find(kind, request.volumeId);
      const result = await this.#meet(injected, () => act(request));
      if (result === null) isUnknown = true;
      else results.push(result);
    }
    if (!isUnknown) return results;
    await this.#save();
    throw new Failure('storage-node-unavailable', `Storage node ${this.name} did not answer.`);
  }

  /** Null: nobody is told what became of the item. */
  async #meet<T>(injected: InjectedFault | null, act: () => EffectResult<T>): Promise<EffectResult<T> | null> {
    if (injected === null) return act();
    const { fault } = injected;
    switch (fault.effect) {
      case 'fail':
        return { ok: false, problem: fault.problem };
      case 'delay':
        await injected.released;
        return act();
      case 'throw':
        if (fault.landed) act();
        return null;
      case 'late':
        this.#landLater(injected, act);
        return null;
    }
  }

  #landLater(injected: InjectedFault, act: () => unknown): void {
    const landing = injected.released.then(async () => {
      act();
      await this.#save();
    });
    this.#lateEffects.add(landing);
    const forget = () => this.#lateEffects.delete(landing);
    landing.then(forget, forget);
  }

  async #save(): Promise<void> {
    if (this.#durable !== null) await this.#durable.log.append(this.#state.takeChanged());
  }
}

const defaultTotalBytes = 2 ** 50;
