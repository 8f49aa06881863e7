export type QosSharing = 'max-min' | 'proportional';

/** Rates are I/O operations per second and bytes per second; null means unlimited. */
export interface QosLimits {
  readonly maxIopsPerContainer: number | null;
  readonly maxBandwidthPerContainer: number | null;
  readonly maxTotalIops: number | null;
  readonly maxTotalBandwidth: number | null;
  readonly minIopsPerContainer: number | null;
  readonly weight: number;
  readonly allowBursting: boolean;
  readonly burstIops: number | null;
  readonly burstDurationSeconds: number;
  readonly sharing: QosSharing;
}

export interface QosPolicy extends QosLimits {
  readonly id: string;
  readonly name: string;
  /** Whether anything enforces it. */
  readonly enforced: boolean;
  readonly version: number;
  readonly createdAt: number;
}
