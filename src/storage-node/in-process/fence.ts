/**
 * Refuses effects that come too late: the highest generation of each volume, durable before any byte changes and before
 * any effect is answered.
 *
 * To be used under the volume's lock, so that check and act are one. Destroyed volumes are remembered too (a delayed
 * provision must not bring one back); the oldest are forgotten once that many more have followed.
 */
import { limits } from '../../config/limits.ts';
import { type Problem, problem } from '../../domain/errors.ts';
import { HighWaterLog } from '../../system/high-water-log.ts';

export class Fence {
  readonly #log: HighWaterLog;
  readonly #destroyed = new Set<string>();
  readonly #tombstones: number;
  #highest = 0;

  private constructor(log: HighWaterLog, tombstones: number) {
    this.#log = log;
    this.#tombstones = tombstones;
    for (const volumeId of log.keys()) this.#highest = Math.max(this.#highest, log.get(volumeId) ?? 0);
  }

  /** The highest generation that any effect here has carried: the store that issued it has come at least this far. */
  get highest(): number {
    return this.#highest;
  }

  /** `living`: the volumes that have bytes here. */
  static async open(
    path: string,
    living: ReadonlySet<string>,
    tombstones: number = limits.fenceTombstones,
  ): Promise<Fence> {
    const fence = new Fence(await HighWaterLog.open(path), tombstones);
    for (const volumeId of fence.#log.keys()) if (!living.has(volumeId)) fence.#destroyed.add(volumeId);
    await fence.#forgetOldest();
    return fence;
  }

  /** Why an effect of this generation must not happen; null when it may. */
  refusalOf(volumeId: string, generation: number): Problem | null {
    const highest = this.#log.get(volumeId);
    if (highest === undefined || generation >= highest) return null;
    const detail = `Volume ${volumeId} is at generation ${highest}; ${generation} comes too late.`;
    return problem('stale-generation', detail);
  }

  /** Resolves once everything older is refused for good. */
  async raise(volumeId: string, generation: number): Promise<void> {
    this.#destroyed.delete(volumeId);
    this.#highest = Math.max(this.#highest, generation);
    if (generation !== this.#log.get(volumeId)) await this.#log.raise([{ key: volumeId, value: generation }]);
  }

  async noteDestroyed(volumeId: string): Promise<void> {
    this.#destroyed.add(volumeId);
    if (this.#destroyed.size > this.#tombstones) await this.#forgetOldest();
  }

  async close(): Promise<void> {
    await this.#log.close();
  }

  async #forgetOldest(): Promise<void> {
    const surplus = [...this.#destroyed].slice(0, Math.max(0, this.#destroyed.size - this.#tombstones));
    for (const volumeId of surplus) this.#destroyed.delete(volumeId);
    await this.#log.forget(surplus);
  }
}
