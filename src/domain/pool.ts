import type { FilesystemType } from './volume.ts';

export type PoolState = 'active' | 'draining';

export interface Pool {
  readonly id: string;
  readonly name: string;
  readonly backend: string;
  readonly storageNode: string;
  readonly volumeSizeBytes: number;
  readonly minFree: number;
  readonly maxVolumes: number;
  readonly filesystem: FilesystemType;
  readonly state: PoolState;
  readonly version: number;
  readonly createdAt: number;
  readonly status: PoolStatus;
}

/** Counts of the pool's volumes by state, and how often a request was served from it or missed it. */
export interface PoolStatus {
  readonly provisioning: number;
  readonly free: number;
  readonly allocated: number;
  readonly wiping: number;
  readonly failed: number;
  readonly retired: number;
  readonly hits: number;
  readonly misses: number;
  readonly blockedReason: string | null;
}
