import type { MaintenanceStore } from '../store/store.ts';
import { ErasureRounds, type Nodes } from './erasure-rounds.ts';
import type { RecoveringReconciler } from './reconciler.ts';

/** Returned volumes: the old owner's bytes are destroyed provably, then the volume is free under a new identity. */
export function volumeWipe(store: MaintenanceStore, nodes: Nodes): RecoveringReconciler {
  const rounds = new ErasureRounds({
    nodes,
    deed: 'wiped',
    take: (which) => store.wipeTake(which),
    erase: (node, requests) => node.wipe(requests),
    settle: (settles) => store.wipeSettle(settles),
  });
  return { name: 'volume-wipe', recover: () => rounds.recover(), run: () => rounds.run() };
}
