/**
 * Which store this host follows, and how far that one had come when it was last asked: durable, beside the mounts.
 *
 * Another store, or one that is behind, does not know what was granted here: nothing is taken away because of what it
 * says, and nothing mounted on its word, until somebody adopts. An adopted store names those whose place it takes, and
 * counts epochs from where it stands; what this host had served for the former one is forgotten then.
 */
import { Failure } from '../domain/errors.ts';
import type { InventoryBegun } from '../domain/host.ts';
import type { Host } from '../host/host.ts';
import { readJson, replaceJson, replaceJsonIfFits } from '../system/durable-file.ts';
import { KeyedMutex } from '../system/keyed-mutex.ts';
import type { AgentLogger } from './context.ts';

interface Stamp {
  readonly storeId: string;
  readonly commitNumber: number;
  /** The boot in which it took the place of another one. */
  readonly adoptedInBoot: string | null;
}

export interface FollowedStoreOptions {
  readonly path: string;
  readonly bootId: string;
  readonly host: Pick<Host, 'forgetEpochs'>;
  readonly logger: AgentLogger;
  /** Asks the controller for its store's identity and number. */
  readonly begin: () => Promise<InventoryBegun>;
}

export interface FollowedStoreState {
  readonly id: string | null;
  /** Why the controller's store is not followed; null while it is. */
  readonly problem: string | null;
}

export class FollowedStore {
  readonly #options: FollowedStoreOptions;
  /** Answers are held against the stamp in the order in which they were asked for: an older one is not "behind". */
  readonly #asking = new KeyedMutex();
  #stamp: Stamp | null;
  #isWritten = true;
  #problem: string | null = null;
  #isKnown = false;

  private constructor(options: FollowedStoreOptions, stamp: Stamp | null) {
    this.#options = options;
    this.#stamp = stamp;
  }

  /** `data-damaged` when the file is. */
  static async open(options: FollowedStoreOptions): Promise<FollowedStore> {
    const content = await readJson(options.path);
    return new FollowedStore(options, content === null ? null : parseStamp(options.path, content));
  }

  get state(): FollowedStoreState {
    return { id: this.#stamp?.storeId ?? null, problem: this.#problem };
  }

  /** Devices of the former store may be here: none outlives its boot. */
  get isJustAdopted(): boolean {
    return this.#stamp?.adoptedInBoot === this.#options.bootId;
  }

  /** The controller was away: another store may be behind it now. */
  doubt(): void {
    this.#isKnown = false;
  }

  /** `store-foreign` unless the store was found to be the followed one. */
  async ensure(): Promise<void> {
    if (!this.#isKnown || this.#problem !== null) await this.follow();
  }

  /** Asks, and stamps what is answered; `store-foreign`, and nothing is stamped, for a store that is not to be followed. */
  follow(): Promise<InventoryBegun> {
    return this.#asking.run('store', async () => {
      const begun = await this.#options.begin();
      this.#judge(begun);
      await this.#take(begun);
      this.#isKnown = true;
      return begun;
    });
  }

  #judge(begun: InventoryBegun): void {
    const problem = this.#stamp === null ? null : foreignReason(this.#stamp, begun);
    const isNews = problem !== null && this.#problem === null;
    this.#problem = problem;
    if (problem === null) return;
    const { storeId, sequence } = begun;
    if (isNews) this.#options.logger.error({ followed: this.#stamp, storeId, commitNumber: sequence }, problem);
    throw new Failure('store-foreign', problem);
  }

  async #take({ storeId, sequence }: InventoryBegun): Promise<void> {
    const { host, logger, bootId } = this.#options;
    const before = this.#stamp;
    if (before === null || before.storeId === storeId) {
      await this.#write({ storeId, commitNumber: sequence, adoptedInBoot: before?.adoptedInBoot ?? null });
      return;
    }
    logger.warn({ former: before, storeId }, 'the store was adopted in place of the one that this host followed');
    await host.forgetEpochs();
    await this.#write({ storeId, commitNumber: sequence, adoptedInBoot: bootId });
  }

  /** How far the store has come is written later where the disk is full: nothing could be unmounted to free some space. */
  async #write(stamp: Stamp): Promise<void> {
    const { storeId, commitNumber } = this.#stamp ?? {};
    if (stamp.storeId === storeId && stamp.commitNumber === commitNumber && this.#isWritten) return;
    const { path } = this.#options;
    if (stamp.storeId === storeId) this.#isWritten = await replaceJsonIfFits(path, stamp);
    else {
      await replaceJson(path, stamp);
      this.#isWritten = true;
    }
    this.#stamp = stamp;
  }
}

function foreignReason(stamp: Stamp, { storeId, sequence, replacedStoreIds }: InventoryBegun): string | null {
  const remedy =
    'put the right one back, or, if this one takes its place, run where the controller is: fcr adopt --yes';
  if (storeId !== stamp.storeId) {
    if (replacedStoreIds.includes(stamp.storeId)) return null;
    return `This host follows store ${stamp.storeId}, the controller has store ${storeId}; ${remedy}`;
  }
  if (sequence >= stamp.commitNumber) return null;
  return `The controller's store is behind this host (commit ${sequence} < ${stamp.commitNumber}): was it restored? ${remedy}`;
}

function parseStamp(path: string, content: unknown): Stamp {
  if (typeof content === 'object' && content !== null && 'storeId' in content && 'commitNumber' in content) {
    const { storeId, commitNumber } = content;
    const boot = 'adoptedInBoot' in content ? content.adoptedInBoot : null;
    const adoptedInBoot = typeof boot === 'string' ? boot : null;
    if (typeof storeId === 'string' && typeof commitNumber === 'number')
      return { storeId, commitNumber, adoptedInBoot };
  }
  throw new Failure('data-damaged', `${path} does not say which store this host follows.`);
}
