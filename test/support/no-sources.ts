import type { MirrorSources } from '../../src/telemetry/store-mirror.ts';

/** Metrics of a process without a store have nothing to mirror. */
export const noSources: MirrorSources = {
  counters: async () => null,
  backlog: async () => null,
  queueDepth: async () => null,
  nodeLease: async () => null,
};
