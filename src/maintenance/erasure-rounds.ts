import { limits } from '../config/limits.ts';
import type { EffectResult, StorageNode, WipeAnswer } from '../storage-node/storage-node.ts';
import type { ErasureEffect, VolumeSettle } from '../store/store.ts';
import { failedErasure } from './failed-erasure.ts';
import { type Deed, Failures } from './failures.ts';
import { type Done, perNode } from './per-node.ts';

export type Nodes = ReadonlyMap<string, StorageNode>;

export interface ErasureOptions<E extends ErasureEffect, A extends WipeAnswer | null> {
  readonly nodes: Nodes;
  readonly deed: Deed;
  readonly take: (options: { readonly all: boolean; readonly atMost: number }) => Promise<readonly E[]>;
  readonly erase: (node: StorageNode, requests: readonly E['request'][]) => Promise<readonly EffectResult<A>[]>;
  readonly settle: (settles: readonly VolumeSettle[]) => Promise<void>;
}

/** Takes the volumes whose bytes have to go, some at a time, has that done, and settles what became of each. */
export class ErasureRounds<E extends ErasureEffect, A extends WipeAnswer | null> {
  readonly #options: ErasureOptions<E, A>;
  #recoverAll = false;

  constructor(options: ErasureOptions<E, A>) {
    this.#options = options;
  }

  /** The next run takes what is leased, too: nobody else is at work. */
  recover(): void {
    this.#recoverAll = true;
  }

  /** Answers how many are done. */
  async run(): Promise<number> {
    const { nodes, deed, take, erase, settle } = this.#options;
    const failures = new Failures();
    let done = 0;
    for (;;) {
      const taken = await take({ all: this.#recoverAll, atMost: limits.wipeVolumes });
      this.#recoverAll = false;
      if (taken.length === 0) break;
      const settles = (await perNode(taken, { nodes, failures }, erase)).map(settleOf);
      if (settles.length > 0) await settle(settles);
      done += failures.add(
        deed,
        settles.map(({ result }) => result),
      );
      // What nobody answered stays taken until its lease is over.
      if (settles.length === 0 || taken.length < limits.wipeVolumes) break;
    }
    failures.tell();
    return done;
  }
}

function settleOf({ effect, result }: Done<ErasureEffect, WipeAnswer | null>): VolumeSettle {
  if (!result.ok) return failedErasure(effect, result.problem);
  const { volumeId, generation } = effect.request;
  return { volumeId, generation, result: { ok: true, ...result.value } };
}
