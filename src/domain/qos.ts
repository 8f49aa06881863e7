/**
 * Which QoS policies make sense, and what the fields that were not stated mean.
 *
 * Everything behind this (shares, credits, kernel limits) may rely on it: rates are positive integers, the minimum is
 * within the maximum, a burst is not below the rate that it bursts over.
 */
import { limits } from '../config/limits.ts';
import { parseByteCount } from './byte-count.ts';
import { Failure } from './errors.ts';
import type { QosLimits, QosSharing } from './qos-policy.ts';

export const qosSharings: readonly QosSharing[] = ['max-min', 'proportional'];

/** As a request states it: null and absent are "not stated". Bandwidths are bytes/s, as a number or e.g. `50MB`. */
export interface QosLimitsStated {
  readonly maxIopsPerContainer?: number | null | undefined;
  readonly maxBandwidthPerContainer?: number | string | null | undefined;
  readonly maxTotalIops?: number | null | undefined;
  readonly maxTotalBandwidth?: number | string | null | undefined;
  readonly minIopsPerContainer?: number | null | undefined;
  readonly weight?: number | null | undefined;
  readonly allowBursting?: boolean | null | undefined;
  readonly burstIops?: number | null | undefined;
  readonly burstDurationSeconds?: number | null | undefined;
  readonly sharing?: QosSharing | null | undefined;
}

/**
 * Answers complete limits: not stated is unlimited for a maximum, no minimum, weight 100, max-min, no burst unless
 * `allowBursting` or `burstIops` says so, then twice the container's rate for 10 s. Throws `invalid-request` (or
 * `invalid-size` for a bandwidth), naming the field.
 */
export function parseQosLimits(stated: QosLimitsStated): QosLimits {
  const maxIopsPerContainer = iops(stated, 'maxIopsPerContainer');
  const allowBursting = stated.allowBursting ?? (stated.burstIops ?? null) !== null;
  const parsed: QosLimits = {
    maxIopsPerContainer,
    maxBandwidthPerContainer: bandwidth(stated, 'maxBandwidthPerContainer'),
    maxTotalIops: iops(stated, 'maxTotalIops'),
    maxTotalBandwidth: bandwidth(stated, 'maxTotalBandwidth'),
    minIopsPerContainer: iops(stated, 'minIopsPerContainer'),
    weight: wholeNumber(stated.weight, 'weight', limits.qosWeightMax) ?? limits.qosWeightDefault,
    allowBursting,
    burstIops: iops(stated, 'burstIops') ?? defaultBurst(allowBursting, maxIopsPerContainer),
    burstDurationSeconds: duration(stated.burstDurationSeconds),
    sharing: stated.sharing ?? 'max-min',
  };
  checkTogether(parsed);
  return parsed;
}

type IopsField = 'maxIopsPerContainer' | 'maxTotalIops' | 'minIopsPerContainer' | 'burstIops';
type BandwidthField = 'maxBandwidthPerContainer' | 'maxTotalBandwidth';

function iops(stated: QosLimitsStated, field: IopsField): number | null {
  return wholeNumber(stated[field], field, limits.qosIopsMax);
}

function bandwidth(stated: QosLimitsStated, field: BandwidthField): number | null {
  const value = stated[field] ?? null;
  if (value === null) return null;
  return parseByteCount(value, field, { minimumBytes: 1, maximumBytes: limits.qosBandwidthMax });
}

function duration(value: number | null | undefined): number {
  const parsed = wholeNumber(value, 'burstDurationSeconds', limits.qosBurstSecondsMax);
  return parsed ?? limits.qosBurstSecondsDefault;
}

function wholeNumber(value: number | null | undefined, field: string, maximum: number): number | null {
  if (value === null || value === undefined) return null;
  if (Number.isInteger(value) && value >= 1 && value <= maximum) return value;
  throw invalid(field, `${value} is refused; a whole number from 1 to ${maximum} is accepted`);
}

function defaultBurst(allowBursting: boolean, base: number | null): number | null {
  return allowBursting && base !== null ? Math.min(base * 2, limits.qosIopsMax) : null;
}

function checkTogether(qos: QosLimits): void {
  atMost(qos, 'minIopsPerContainer', 'maxIopsPerContainer');
  atMost(qos, 'minIopsPerContainer', 'maxTotalIops');
  atMost(qos, 'maxIopsPerContainer', 'burstIops');
  if (!qosSharings.includes(qos.sharing)) {
    throw invalid('sharing', `${JSON.stringify(qos.sharing)} is refused; accepted: ${qosSharings.join(', ')}`);
  }
  if (qos.burstIops !== null && !qos.allowBursting) throw invalid('burstIops', 'allowBursting is false');
  if (qos.burstIops !== null && qos.maxIopsPerContainer === null) {
    throw invalid('burstIops', 'needs maxIopsPerContainer, the rate that it bursts over');
  }
}

function atMost(qos: QosLimits, lower: IopsField, upper: IopsField): void {
  const [low, high] = [qos[lower], qos[upper]];
  if (low === null || high === null || low <= high) return;
  const field = upper === 'burstIops' ? upper : lower;
  throw invalid(field, `${lower} (${low}) is above ${upper} (${high})`);
}

function invalid(field: string, why: string): Failure {
  return new Failure('invalid-request', `${field}: ${why}.`, { field });
}
