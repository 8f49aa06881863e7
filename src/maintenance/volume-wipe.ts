import { limits } from '../config/limits.ts';
import { errorCatalogue } from '../domain/errors.ts';
import type { EffectResult, StorageNode, WipeAnswer, WipeRequest } from '../storage-node/storage-node.ts';
import type { MaintenanceStore, VolumeSettle } from '../store/store.ts';
import { Failures } from './failures.ts';
import { perNode } from './per-node.ts';
import type { Reconciler } from './reconciler.ts';

/** Returned volumes: the old owner's bytes are destroyed provably, then the volume is free under a new identity. */
export class VolumeWipe implements Reconciler {
  readonly name = 'volume-wipe';
  readonly #store: MaintenanceStore;
  readonly #nodes: ReadonlyMap<string, StorageNode>;
  #recoverAll = false;

  constructor(options: {
    readonly store: MaintenanceStore;
    readonly nodes: ReadonlyMap<string, StorageNode>;
  }) {
    this.#store = options.store;
    this.#nodes = options.nodes;
  }

  recover(): void {
    this.#recoverAll = true;
  }

  async run(): Promise<number> {
    const failures = new Failures();
    let wiped = 0;
    for (;;) {
      const taken = await this.#store.wipeTake({ all: this.#recoverAll, atMost: limits.wipeVolumes });
      this.#recoverAll = false;
      if (taken.length === 0) break;
      const done = await perNode(taken, this.#nodes, (node, requests) => node.wipe(requests));
      const settles = done.map(({ request, result }) => settleOf(request, result));
      if (settles.length > 0) await this.#store.wipeSettle(settles);
      failures.add(settles);
      wiped += settles.filter(({ result }) => result.ok).length;
      if (taken.length < limits.wipeVolumes) break;
    }
    failures.tell('wiped');
    return wiped;
  }
}

function settleOf({ volumeId, generation }: WipeRequest, result: EffectResult<WipeAnswer>): VolumeSettle {
  if (result.ok) return { volumeId, generation, result: { ok: true, ...result.value } };
  const { problem } = result;
  // What time or space heals is tried again; anything else is a medium that nobody may get before a person looked.
  return { volumeId, generation, result: { ok: false, problem, quarantine: !errorCatalogue[problem.code].retryable } };
}
