/**
 * A storage node in this process: backends for the bytes, an exporter for the paths.
 *
 * Owns the fence (`fence.log`) and the stamp (`store-stamp.json`) in the data directory. Every item runs under its
 * volume's lock: the generation is made durable, then bytes change, then the next item of that volume may begin. Paths
 * change beside the fence and are answered after both: what a crash makes of one without the other is a request that was
 * never answered. The items of a bulk call run side by side, so that what they make durable goes into few flushes.
 *
 * Relies on one process per data directory. An item whose end is unknown (a deadline, a bug) makes the whole call unknown,
 * after all others ended.
 */
import { join } from 'node:path';
import type { Backend } from '../../backends/backend.ts';
import { limits } from '../../config/limits.ts';
import { assert, type ErrorCode, Failure, problem } from '../../domain/errors.ts';
import type { Exporter } from '../../fabric/exporter.ts';
import { makeDirectoryDurably } from '../../system/durable-file.ts';
import { KeyedMutex } from '../../system/keyed-mutex.ts';
import { Parallelism } from '../../system/parallelism.ts';
import { StampFile } from '../stamp-file.ts';
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
import { Fence } from './fence.ts';

export interface InProcessStorageNodeOptions {
  readonly name: string;
  readonly dataDirectory: string;
  /** The node closes them, and the exporter, with itself, or when it cannot be opened. */
  readonly backends: readonly Backend[];
  readonly exporter: Exporter;
  /** How many media are made or destroyed at a time. */
  readonly parallelMedia?: number;
  readonly mayAct?: MayAct;
}

interface VolumeItem {
  readonly volumeId: string;
  readonly generation: number;
}

interface MediumItem extends VolumeItem {
  readonly backend: string;
}

interface Parts {
  readonly options: InProcessStorageNodeOptions;
  readonly fence: Fence;
  readonly stampFile: StampFile;
}

export class InProcessStorageNode implements StorageNode {
  readonly name: string;
  readonly capabilities: StorageNodeCapabilities;
  readonly #backends: ReadonlyMap<string, Backend>;
  readonly #exporter: Exporter;
  readonly #fence: Fence;
  readonly #stampFile: StampFile;
  readonly #locks = new KeyedMutex();
  readonly #parallelMedia: Parallelism;
  readonly #mayAct: MayAct;

  private constructor({ options, fence, stampFile }: Parts) {
    const { name, backends, exporter } = options;
    this.name = name;
    this.#backends = new Map(backends.map((backend) => [backend.name, backend]));
    this.#exporter = exporter;
    this.#fence = fence;
    this.#stampFile = stampFile;
    this.#parallelMedia = new Parallelism(options.parallelMedia ?? limits.mediumParallel);
    this.#mayAct = options.mayAct ?? (() => true);
    const { canFence, targetPorts } = exporter;
    this.capabilities = { backends: backends.map((each) => each.name), exporter: exporter.name, canFence, targetPorts };
  }

  static async open(options: InProcessStorageNodeOptions): Promise<InProcessStorageNode> {
    assert(options.backends.length > 0, 'storage-node-without-backend');
    try {
      const stampFile = await openStampFile(options.dataDirectory);
      const fence = await openFence(options);
      return new InProcessStorageNode({ options, fence, stampFile });
    } catch (error) {
      await closeParts(options);
      throw error;
    }
  }

  provision(requests: readonly ProvisionRequest[]): Promise<readonly EffectResult<ProvisionAnswer>[]> {
    return this.#each(requests, (item) => this.#onMedium(item, (backend) => backend.provision(item)));
  }

  wipe(requests: readonly WipeRequest[]): Promise<readonly EffectResult<WipeAnswer>[]> {
    return this.#each(requests, (item) => this.#onMedium(item, (backend) => backend.wipe(item)));
  }

  destroy(requests: readonly DestroyRequest[]): Promise<readonly EffectResult<null>[]> {
    return this.#each(requests, async (item) => {
      const result = await this.#onMedium(item, (backend) => backend.destroy(item));
      if (result.ok) await this.#fencing(this.#fence.noteDestroyed(item.volumeId));
      return result;
    });
  }

  export(requests: readonly ExportRequest[]): Promise<readonly EffectResult<null>[]> {
    return this.#eachBeside(requests, async (item) => {
      const location = await this.#locate(item);
      if (location !== null) return await this.#exporter.export(item, location);
      const detail = `Volume ${item.volumeId} has no medium ${item.mediaGeneration} here.`;
      return { ok: false, problem: problem('volume-not-found', detail) };
    });
  }

  unexport(requests: readonly UnexportRequest[]): Promise<readonly EffectResult<null>[]> {
    return this.#eachBeside(requests, (item) => this.#exporter.unexport(item));
  }

  async inventory(): Promise<StorageNodeInventory> {
    const media = await Promise.all([...this.#backends.values()].map((backend) => backend.inventory()));
    return { media: media.flat(), exports: await this.#exporter.inventory() };
  }

  async stamp(): Promise<StoreStamp | null> {
    const stamp = this.#stampFile.stamp;
    // The file is raised now and then, the fence with every effect.
    return stamp && { ...stamp, highestGeneration: Math.max(stamp.highestGeneration, this.#fence.highest) };
  }

  setStamp(stamp: StoreStamp, options: { readonly adopt?: boolean } = {}): Promise<void> {
    return this.#locks.run(stampLock, () => this.#stampFile.set(stamp, options.adopt ?? false));
  }

  /** Over filesystems that several backends share the figures count once for each. */
  async space(): Promise<Space> {
    const spaces = await Promise.all([...this.#backends.values()].map((backend) => backend.space()));
    return spaces.reduce((sum, each) => ({
      totalBytes: sum.totalBytes + each.totalBytes,
      availableBytes: sum.availableBytes + each.availableBytes,
    }));
  }

  async close(): Promise<void> {
    await this.#locks.settled();
    await this.#fence.close();
    await closeParts({ exporter: this.#exporter, backends: this.#backends.values() });
  }

  /** For what changes bytes: the fence is durable before. */
  #each<R extends VolumeItem, T>(
    requests: readonly R[],
    act: (request: R) => Promise<EffectResult<T>>,
  ): Promise<readonly EffectResult<T>[]> {
    return this.#all(requests, async (request) => {
      await this.#raise(request);
      return await act(request);
    });
  }

  /** For what changes paths: the fence is durable before the answer. */
  #eachBeside<R extends VolumeItem, T>(
    requests: readonly R[],
    act: (request: R) => Promise<EffectResult<T>>,
  ): Promise<readonly EffectResult<T>[]> {
    return this.#all(requests, async (request) => {
      const ends = [this.#raise(request), act(request)] as const;
      // The volume's lock is kept until both have ended.
      await Promise.allSettled(ends);
      return (await Promise.all(ends))[1];
    });
  }

  #raise({ volumeId, generation }: VolumeItem): Promise<void> {
    return this.#fencing(this.#fence.raise(volumeId, generation));
  }

  /** A fence that takes no more says nothing about the volume's own medium. */
  async #fencing(written: Promise<void>): Promise<void> {
    try {
      await written;
    } catch (error) {
      if (!(error instanceof Failure) || error.code === 'out-of-space') throw error;
      throw new Failure('storage-failed', error.message, { cause: error });
    }
  }

  /** In the requests' order; the items of one volume run one after the other. */
  async #all<R extends VolumeItem, T>(
    requests: readonly R[],
    act: (request: R) => Promise<EffectResult<T>>,
  ): Promise<readonly EffectResult<T>[]> {
    const runs = requests.map((request) => this.#locks.run(request.volumeId, () => this.#fenced(request, act)));
    const ends = await Promise.allSettled(runs);
    return ends.map((end) => {
      if (end.status === 'rejected') throw end.reason;
      return end.value;
    });
  }

  async #fenced<R extends VolumeItem, T>(
    request: R,
    act: (request: R) => Promise<EffectResult<T>>,
  ): Promise<EffectResult<T>> {
    try {
      this.#checkMayAct();
      const refusal = this.#fence.refusalOf(request.volumeId, request.generation);
      if (refusal !== null) return { ok: false, problem: refusal };
      return await act(request);
    } catch (error) {
      if (!(error instanceof Failure) || unknownEnds.includes(error.code)) throw error;
      return { ok: false, problem: error.problem };
    }
  }

  async #onMedium<T>(item: MediumItem, act: (backend: Backend) => Promise<EffectResult<T>>): Promise<EffectResult<T>> {
    const backend = this.#backends.get(item.backend);
    if (backend === undefined)
      return { ok: false, problem: problem('not-supported', `There is no backend ${item.backend} here.`) };
    return await this.#parallelMedia.run(() => {
      this.#checkMayAct();
      return act(backend);
    });
  }

  #checkMayAct(): void {
    if (!this.#mayAct()) throw new Failure('storage-node-unavailable', `Storage node ${this.name} may not act now.`);
  }

  async #locate({ volumeId, mediaGeneration }: ExportRequest): Promise<string | null> {
    for (const backend of this.#backends.values()) {
      const location = await backend.locate(volumeId, mediaGeneration);
      if (location !== null) return location;
    }
    return null;
  }
}

async function openStampFile(dataDirectory: string): Promise<StampFile> {
  await makeDirectoryDurably(dataDirectory);
  return await StampFile.open(join(dataDirectory, 'store-stamp.json'));
}

/** An export is logged beside the fence: what it was made under counts, whichever of both a crash left. */
async function openFence({ dataDirectory, backends, exporter }: InProcessStorageNodeOptions): Promise<Fence> {
  const living = new Set<string>();
  for (const backend of backends) for (const { volumeId } of await backend.inventory()) living.add(volumeId);
  const fence = await Fence.open(join(dataDirectory, 'fence.log'), living);
  const exports = await exporter.inventory();
  await Promise.all(exports.map(({ volumeId, generation }) => fence.raise(volumeId, generation)));
  return fence;
}

async function closeParts({ exporter, backends }: { exporter: Exporter; backends: Iterable<Backend> }): Promise<void> {
  await exporter.close();
  for (const backend of backends) await backend.close();
}

const unknownEnds: readonly ErrorCode[] = ['deadline-exceeded', 'storage-node-unavailable'];

/** No volume's id has a dot. */
const stampLock = '.stamp';
