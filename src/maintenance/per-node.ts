import type { EffectResult, StorageNode } from '../storage-node/storage-node.ts';
import type { PoolEffect } from '../store/store.ts';

export interface Done<R, A> {
  readonly request: R;
  readonly result: EffectResult<A>;
}

/**
 * One bulk call per storage node, side by side. A node that is not connected, or whose call throws, answers nothing:
 * the outcome is unknown, the lease runs out, and a later run issues the effects again under a higher generation.
 */
export async function perNode<R, A>(
  effects: readonly PoolEffect<R>[],
  nodes: ReadonlyMap<string, StorageNode>,
  call: (node: StorageNode, requests: readonly R[]) => Promise<readonly EffectResult<A>[]>,
): Promise<Done<R, A>[]> {
  const byNode = new Map<string, R[]>();
  for (const { storageNode, request } of effects) {
    const requests = byNode.get(storageNode);
    if (requests === undefined) byNode.set(storageNode, [request]);
    else requests.push(request);
  }
  const errors: unknown[] = [];
  const calls = [...byNode].map(async ([name, requests]): Promise<Done<R, A>[]> => {
    const node = nodes.get(name);
    if (node === undefined) return [];
    try {
      const results = await call(node, requests);
      return results.flatMap((result, index) => {
        const request = requests[index];
        return request === undefined ? [] : [{ request, result }];
      });
    } catch (error) {
      errors.push(error);
      return [];
    }
  });
  const done = (await Promise.all(calls)).flat();
  if (done.length === 0 && errors.length > 0) throw errors[0];
  return done;
}
