import { limits } from '../config/limits.ts';
import type { JournalStore, MaintenanceStore } from '../store/store.ts';
import type { Reconciler } from './reconciler.ts';

/** Effects whose worker has not come back are made due again; they are issued anew under a higher generation. */
export function operationRecovery(store: JournalStore & MaintenanceStore, wake: () => void): Reconciler {
  return {
    name: 'operation-recovery',
    run: async () => {
      await store.leasesCurtail();
      const due = await store.effectsRecover({ all: false });
      wake();
      return due;
    },
  };
}

/** Hosts that have been silent are shown as offline; what they hold stays theirs. */
export function hostLiveness(store: MaintenanceStore, silenceMs: number): Reconciler {
  return {
    name: 'host-liveness',
    run: async () => (await store.hostsExpire(silenceMs)).length,
  };
}

/** Ended operations, expired idempotency keys and old events go, a bounded number at a time. */
export function retention(
  store: MaintenanceStore,
  ages: { readonly operationsMs: number; readonly eventsMs: number },
): Reconciler {
  return {
    name: 'retention',
    run: () => store.retentionPurge({ ...ages, atMost: limits.retentionBatches }),
  };
}
