import type { EffectResult, StorageNode } from '../storage-node/storage-node.ts';
import type { PoolEffect } from '../store/store.ts';
import type { Failures } from './failures.ts';

export interface Done<E, A> {
  readonly effect: E;
  readonly result: EffectResult<A>;
}

/**
 * One bulk call per storage node, side by side. A node that is not connected, or whose call throws, answers nothing:
 * the outcome is unknown, the lease runs out, and a later run issues the effects again under a higher generation.
 */
export async function perNode<R, A, E extends PoolEffect<R>>(
  effects: readonly E[],
  { nodes, failures }: { readonly nodes: ReadonlyMap<string, StorageNode>; readonly failures: Failures },
  call: (node: StorageNode, requests: readonly E['request'][]) => Promise<readonly EffectResult<A>[]>,
): Promise<Done<E, A>[]> {
  const calls = [...Map.groupBy(effects, ({ storageNode }) => storageNode)].map(async ([name, list]) => {
    const node = nodes.get(name);
    if (node === undefined) return [];
    try {
      const requests = list.map(({ request }) => request);
      const results = await call(node, requests);
      return results.flatMap((result, index) => {
        const effect = list[index];
        return effect === undefined ? [] : [{ effect, result }];
      });
    } catch (error) {
      failures.addThrown(name, error);
      return [];
    }
  });
  return (await Promise.all(calls)).flat();
}
