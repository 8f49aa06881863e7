/**
 * Volumes as files: `<directory>/<volumeId>.<mediaGeneration>.img`.
 *
 * Under its own name a medium is always complete and durable: it is made under a temporary name, fsynced, renamed, and
 * the directory fsynced. A wiped volume's new medium gets its name only after the old bytes were shown to be gone, and
 * the old file's name goes last: whatever a crash leaves, a repeat can tell what is left to do.
 *
 * Relies on one process per directory, on the caller's lock and fence per volume, and on the volume's flock against
 * orphans of an earlier process. A new file for every owner: a stale device never finds its bytes again.
 */
import { realpath, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { limits } from '../../config/limits.ts';
import { exactly } from '../../domain/byte-count.ts';
import { Failure } from '../../domain/errors.ts';
import type { FilesystemType } from '../../domain/volume.ts';
import type {
  DestroyRequest,
  EffectResult,
  MediumFound,
  ProvisionAnswer,
  ProvisionRequest,
  Space,
  WipeAnswer,
  WipeProof,
  WipeRequest,
} from '../../storage-node/storage-node.ts';
import { type RunCommand, runCommand } from '../../system/command.ts';
import { fsyncDirectory, makeDirectoryDurably } from '../../system/durable-file.ts';
import { makeFilesystemSeed } from '../../system/filesystem-seed.ts';
import { GroupCommit } from '../../system/group-commit.ts';
import type { Backend } from '../backend.ts';
import { formatFile } from './format.ts';
import { LoopScan } from './loop-scan.ts';
import { MediaIndex } from './media-index.ts';
import { MediumEraser } from './medium-eraser.ts';
import {
  checkMediumName,
  checkVolumeId,
  type MediumName,
  mediumFileName,
  parseMediumFileName,
  temporaryFileName,
} from './medium-name.ts';
import { failureOfMaking, problemOfMedium } from './medium-problem.ts';
import { MediumThreads } from './medium-threads.ts';
import { SpaceReserve } from './space-reserve.ts';
import { VolumeLock } from './volume-lock.ts';

export interface FileBackendOptions {
  readonly directory: string;
  /** `full` gives every medium all of its blocks at once; `sparse` as they are written. */
  readonly allocation?: 'sparse' | 'full';
  /** Where the directory is made that new filesystems are filled from; without it the first mount fills them. */
  readonly seedParent?: string;
  readonly reserveBytes?: number;
  readonly reservePercent: number;
  readonly runCommand?: RunCommand;
  readonly sysfsRoot?: string;
  readonly lockDeadlineMs?: number;
  /** False: as on a filesystem that cannot free ranges. Default: tried out. */
  readonly canPunchHole?: boolean;
  /** Told after each step, by name; what it throws ends the action there. */
  readonly onStep?: (step: FileBackendStep) => void;
}

export type FileBackendStep =
  | 'created'
  | 'formatted'
  | 'synced'
  | 'named'
  | 'durable'
  | 'erased'
  | 'unlinked'
  | 'removed';

interface Parts {
  readonly options: Omit<Required<FileBackendOptions>, 'seedParent'>;
  readonly threads: MediumThreads;
  readonly index: MediaIndex;
  readonly seed: string | null;
}

interface NewMedium extends MediumName {
  readonly sizeBytes: number;
  readonly filesystem: FilesystemType | null;
}

export class FileBackend implements Backend {
  readonly name = 'file';
  readonly canPunchHole: boolean;
  readonly #options: Omit<Required<FileBackendOptions>, 'seedParent'>;
  readonly #seed: string | null;
  readonly #threads: MediumThreads;
  readonly #index: MediaIndex;
  readonly #eraser: MediumEraser;
  readonly #reserve: SpaceReserve;
  readonly #loops: LoopScan;
  readonly #names = new GroupCommit<null>(() => this.#fsyncNames());
  #brokenBy: unknown = null;

  private constructor({ options, threads, index, seed }: Parts) {
    this.#options = options;
    this.#seed = seed;
    this.#threads = threads;
    this.#index = index;
    this.canPunchHole = options.canPunchHole;
    this.#eraser = new MediumEraser(threads, options.canPunchHole);
    this.#reserve = new SpaceReserve(options.directory, options);
    this.#loops = new LoopScan(() => threads.call('listLoopMedia', [options.sysfsRoot, options.directory]));
  }

  static async open(given: FileBackendOptions): Promise<FileBackend> {
    await makeDirectoryDurably(join(given.directory, 'locks'));
    await fsyncDirectory(given.directory);
    const directory = await realpath(given.directory);
    const threads = new MediumThreads();
    try {
      const canPunchHole = given.canPunchHole ?? (await threads.call('probePunchHole', [join(directory, '.probe')]));
      const files = await threads.call('listFiles', [directory]);
      const index = MediaIndex.of(files.map(({ fileName }) => fileName));
      const seed = given.seedParent === undefined ? null : await makeFilesystemSeed(given.seedParent);
      return new FileBackend({ options: { ...defaults, ...given, directory, canPunchHole }, threads, index, seed });
    } catch (error) {
      await threads.close();
      throw error;
    }
  }

  provision(request: ProvisionRequest): Promise<EffectResult<ProvisionAnswer>> {
    return this.#act(request.volumeId, async (lock) => {
      checkMediumName(request);
      const formatted = this.#index.has(request)
        ? await this.#verifyMedium(request, lock)
        : await this.#reserve.admit(this.#neededBytes(request), () => this.#makeMedium(request, lock));
      const { volumeId, mediaGeneration } = request;
      const outdated = this.#index.mediaOf(volumeId).filter((each) => each.mediaGeneration < mediaGeneration);
      if (outdated.length === 0) return { formatted };
      await this.#refuseBusy({ volumeId, kept: mediaGeneration }, outdated, lock);
      await this.#erase(outdated, lock);
      await this.#removeNames(outdated);
      return { formatted };
    });
  }

  /** Interrupted after the new medium got its name, a repeat knows by that name that the old bytes were shown to be gone. */
  wipe(request: WipeRequest): Promise<EffectResult<WipeAnswer>> {
    return this.#act(request.volumeId, async (lock) => {
      const { volumeId, newMediaGeneration, generation } = request;
      const medium = { ...request, mediaGeneration: newMediaGeneration };
      checkMediumName(medium);
      const outdated = this.#index.mediaOf(volumeId).filter((each) => each.mediaGeneration !== newMediaGeneration);
      await this.#refuseBusy({ volumeId, kept: newMediaGeneration }, outdated, lock);
      const provedBefore = this.#index.has(medium) ? request.sizeBytes : 0;
      const verifiedBytes = await this.#erase(outdated, lock);
      const formatted = this.#index.has(medium)
        ? await this.#verifyMedium(medium, lock)
        : await this.#makeMedium(medium, lock);
      await this.#removeNames(outdated);
      const proof: WipeProof = {
        method: this.#eraser.method,
        verifiedBytes: verifiedBytes || provedBefore,
        generation,
      };
      return { formatted, proof };
    });
  }

  destroy(request: DestroyRequest): Promise<EffectResult<null>> {
    return this.#act(request.volumeId, async (lock) => {
      const { volumeId } = request;
      const media = this.#index.mediaOf(volumeId);
      await this.#refuseBusy({ volumeId, kept: null }, media, lock);
      await this.#erase(media, lock);
      await this.#removeNames(media);
      await lock.remove();
      this.#step('removed');
      return null;
    });
  }

  async locate(volumeId: string, mediaGeneration: number): Promise<string | null> {
    const medium = { volumeId, mediaGeneration };
    return this.#index.has(medium) ? this.#pathOf(medium) : null;
  }

  async inventory(): Promise<readonly MediumFound[]> {
    for (const volumeId of this.#index.volumesWithLeftovers()) await this.#tryClearLeftovers(volumeId);
    const files = await this.#threads.call('listFiles', [this.#options.directory]);
    const found: MediumFound[] = [];
    for (const { fileName, sizeBytes, allocatedBytes } of files) {
      const medium = parseMediumFileName(fileName);
      if (medium !== null) found.push({ backend: this.name, ...medium, sizeBytes, allocatedBytes });
    }
    return found;
  }

  space(): Promise<Space> {
    return this.#reserve.space();
  }

  async close(): Promise<void> {
    await this.#names.settled();
    await this.#threads.close();
  }

  /** Under the volume's flock, leftovers of a crash removed; answers what is expected to happen in this world. */
  async #act<T>(volumeId: string, action: (lock: VolumeLock) => Promise<T>): Promise<EffectResult<T>> {
    try {
      checkVolumeId(volumeId);
      if (this.#brokenBy !== null) throw this.#refusal();
      const value = await this.#locked(volumeId, this.#options.lockDeadlineMs, async (lock) => {
        await this.#clearLeftovers(volumeId);
        return await action(lock);
      });
      return { ok: true, value };
    } catch (error) {
      return { ok: false, problem: problemOfMedium(error, volumeId) };
    }
  }

  async #locked<T>(volumeId: string, deadlineMs: number, action: (lock: VolumeLock) => Promise<T>): Promise<T> {
    const directory = join(this.#options.directory, 'locks');
    const lock = await VolumeLock.take({ directory, volumeId, deadlineMs });
    try {
      return await action(lock);
    } finally {
      await lock.release();
    }
  }

  /** Answers whether it has a filesystem. A medium that has its name is complete and is left as it is. */
  async #verifyMedium(medium: NewMedium, lock: VolumeLock): Promise<boolean> {
    const path = this.#pathOf(medium);
    const sizeBytes = await this.#threads.call('fileSize', [path], lock);
    if (sizeBytes !== medium.sizeBytes) {
      throw new Failure(
        'identity-mismatch',
        `${mediumFileName(medium)} has ${exactly(sizeBytes)}, not ${exactly(medium.sizeBytes)}.`,
      );
    }
    return await this.#threads.call('hasFilesystem', [path], lock);
  }

  /** What has to be free beyond the reserve. A wipe needs no admission: it takes what it has just freed. */
  #neededBytes({ sizeBytes }: NewMedium): number {
    return this.#options.allocation === 'full' ? sizeBytes : Math.min(sizeBytes, limits.mediumSparseBytes);
  }

  /** Answers whether it was formatted. */
  async #makeMedium(medium: NewMedium, lock: VolumeLock): Promise<boolean> {
    const temporary = join(this.#options.directory, temporaryFileName(medium));
    try {
      return await this.#makeUnder(temporary, medium, lock);
    } catch (error) {
      await this.#discard(temporary, medium);
      throw failureOfMaking(error, medium.volumeId);
    }
  }

  async #makeUnder(temporary: string, medium: NewMedium, lock: VolumeLock): Promise<boolean> {
    const { allocation } = this.#options;
    await this.#threads.call('createZeroed', [temporary, medium.sizeBytes, allocation === 'full'], lock);
    this.#step('created');
    const formatted = await this.#format(temporary, medium, lock);
    this.#step('formatted');
    await this.#threads.call('fsyncFile', [temporary], lock);
    this.#step('synced');
    await rename(temporary, this.#pathOf(medium));
    this.#index.add(medium);
    this.#step('named');
    await this.#names.add([null]);
    this.#step('durable');
    return formatted;
  }

  async #format(path: string, { volumeId, filesystem }: NewMedium, lock: VolumeLock): Promise<boolean> {
    if (filesystem === null) return false;
    const run = this.#options.runCommand;
    return await formatFile({ run, path, volumeId, filesystem, lockFd: lock.fd, seed: this.#seed });
  }

  /** Remembered as well: a call that overran its deadline may make the file only now. */
  async #discard(temporary: string, medium: MediumName): Promise<void> {
    this.#index.addLeftover(medium);
    await rm(temporary, { force: true }).catch(() => undefined);
  }

  /**
   * `device-busy` when a loop device has a medium of the volume other than the kept one. Where every such medium has its
   * file and nobody has it open, none can: a file goes only after it was shown that no device has it. Else all are read.
   */
  async #refuseBusy(
    { volumeId, kept }: { readonly volumeId: string; readonly kept: number | null },
    media: readonly MediumName[],
    lock: VolumeLock,
  ): Promise<void> {
    const paths = media.map((medium) => this.#pathOf(medium));
    if (paths.length > 0 && (await this.#threads.call('areUnopened', [paths], lock))) return;
    await this.#loops.refuseBusy(volumeId, kept);
  }

  /** Answers how many bytes were shown to be zero. Every caller has made sure that no device still has the media. */
  async #erase(media: readonly MediumName[], lock: VolumeLock): Promise<number> {
    let verifiedBytes = 0;
    for (const medium of media) {
      verifiedBytes += await this.#eraser.erase(this.#pathOf(medium), lock);
      this.#step('erased');
    }
    return verifiedBytes;
  }

  async #removeNames(media: readonly MediumName[]): Promise<void> {
    if (media.length === 0) return;
    for (const medium of media) {
      await rm(this.#pathOf(medium), { force: true });
      this.#index.remove(medium);
      this.#step('unlinked');
    }
    await this.#names.add([null]);
  }

  async #clearLeftovers(volumeId: string): Promise<void> {
    for (const medium of this.#index.leftoversOf(volumeId)) {
      await rm(join(this.#options.directory, temporaryFileName(medium)), { force: true });
    }
    this.#index.clearLeftovers(volumeId);
  }

  /** What somebody still works on is left to its next action. */
  async #tryClearLeftovers(volumeId: string): Promise<void> {
    try {
      await this.#locked(volumeId, 0, async (lock) => {
        await this.#clearLeftovers(volumeId);
        // Taken for a volume that has been destroyed meanwhile, or never came about, its file would stay for good.
        if (this.#index.mediaOf(volumeId).length === 0) await lock.remove();
      });
    } catch (error) {
      if (!(error instanceof Failure && error.code === 'device-busy')) throw error;
    }
  }

  /** A directory whose fsync failed may have lost names that later calls would take for durable. */
  async #fsyncNames(): Promise<void> {
    if (this.#brokenBy !== null) throw this.#refusal();
    try {
      await fsyncDirectory(this.#options.directory);
    } catch (error) {
      this.#brokenBy = error;
      throw this.#refusal();
    }
  }

  #refusal(): Failure {
    const detail = `${this.#options.directory} could not be made durable; nothing is changed any more.`;
    return new Failure('storage-failed', detail, { cause: this.#brokenBy });
  }

  #pathOf(medium: MediumName): string {
    return join(this.#options.directory, mediumFileName(medium));
  }

  #step(step: FileBackendStep): void {
    this.#options.onStep(step);
  }
}

const defaults: Omit<Required<FileBackendOptions>, 'directory' | 'reservePercent' | 'canPunchHole' | 'seedParent'> = {
  allocation: 'sparse',
  reserveBytes: limits.mediumReserveBytes,
  runCommand,
  sysfsRoot: '/sys',
  lockDeadlineMs: limits.mediumLockMs,
  onStep: () => {},
};
