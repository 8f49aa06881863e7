import type { MaintenanceStore } from '../store/store.ts';
import { ErasureRounds, type Nodes } from './erasure-rounds.ts';
import type { RecoveringReconciler } from './reconciler.ts';

/** Volumes that no pool keeps: retired ones, those of drained pools, and returned ones that never had a pool. */
export function volumeDestroy(store: MaintenanceStore, nodes: Nodes): RecoveringReconciler {
  const rounds = new ErasureRounds({
    nodes,
    deed: 'destroyed',
    take: (which) => store.destroyTake(which),
    erase: (node, requests) => node.destroy(requests),
    settle: (settles) => store.destroySettle(settles),
  });
  const run = async () => (await store.poolTrim()) + (await rounds.run());
  return { name: 'volume-destroy', recover: () => rounds.recover(), run };
}
