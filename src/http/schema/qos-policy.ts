import { type Static, Type } from 'typebox';
import { limits } from '../../config/limits.ts';
import { qosSharings } from '../../domain/qos.ts';
import type { QosPolicy } from '../../domain/qos-policy.ts';
import * as field from '../../operations/field-schemas.ts';
import * as out from './output.ts';

export const qosPolicySchema = out.named<QosPolicy>(
  'QosPolicy',
  out.object<QosPolicy>('Limits per container and over all containers of a host.', {
    id: out.text('Id of the policy.', 'qos_01JD0000000000000000000000'),
    name: out.text('Name of the policy.', 'gold'),
    maxIopsPerContainer: out.integerOrNull('Most I/O operations per second of one container; null: unlimited.', 500),
    maxBandwidthPerContainer: out.integerOrNull('Most bytes per second of one container; null: unlimited.', 52428800),
    maxTotalIops: out.integerOrNull('Most I/O operations per second of all containers of a host.', 5000),
    maxTotalBandwidth: out.integerOrNull('Most bytes per second of all containers of a host.', 524288000),
    minIopsPerContainer: out.integerOrNull('I/O operations per second that one container is never pushed under.', 100),
    weight: out.integer('Share among containers, relative to the others.', 100),
    allowBursting: out.flag('Whether a container may exceed its limit while it has credits.'),
    burstIops: out.integerOrNull('I/O operations per second while bursting.', 1000),
    burstDurationSeconds: out.integer('Seconds of full burst that a full bucket of credits is worth.', 10),
    sharing: out.oneOf(qosSharings, 'How a host-wide limit is divided.'),
    enforced: out.flag('Whether anything enforces the policy.'),
    version: out.integer('Rises with every change; the ETag is made of it.', 1),
    createdAt: out.instant('When the policy was made'),
  }),
);
export const qosPolicyPageSchema = out.pageOf(qosPolicySchema);

const iops = { minimum: 1, maximum: limits.qosIopsMax };

const limitFields = {
  maxIopsPerContainer: field.maybeInteger(iops, {
    description: 'Most I/O operations per second of one container; absent: unlimited.',
    examples: [500],
  }),
  maxBandwidthPerContainer: field.maybeSize({
    description: 'Most bytes per second of one container, as a number or a text with a unit; absent: unlimited.',
    examples: ['50MiB'],
  }),
  maxTotalIops: field.maybeInteger(iops, {
    description: 'Most I/O operations per second of all containers of a host; absent: unlimited.',
    examples: [5000],
  }),
  maxTotalBandwidth: field.maybeSize({
    description: 'Most bytes per second of all containers of a host, as a number or a text with a unit.',
    examples: ['500MiB'],
  }),
  minIopsPerContainer: field.maybeInteger(iops, {
    description: 'I/O operations per second that one container is never pushed under.',
    examples: [100],
  }),
  weight: field.maybeInteger(
    { minimum: 1, maximum: limits.qosWeightMax },
    { description: 'Share among containers, relative to the others.', examples: [100] },
  ),
  allowBursting: field.maybeFlag({ description: 'Whether a container may exceed its limit while it has credits.' }),
  burstIops: field.maybeInteger(iops, {
    description: 'I/O operations per second while bursting; absent: twice the limit.',
    examples: [1000],
  }),
  burstDurationSeconds: field.maybeInteger(
    { minimum: 1, maximum: limits.qosBurstSecondsMax },
    { description: 'Seconds of full burst that a full bucket of credits is worth.', examples: [10] },
  ),
  sharing: field.maybeOneOf(qosSharings, { description: 'How a host-wide limit is divided.' }),
};

export const newQosPolicyBody = Type.Object(
  { name: field.name({ description: 'Name of the policy.', examples: ['gold'] }), ...limitFields },
  { additionalProperties: false },
);
export type NewQosPolicyBody = Static<typeof newQosPolicyBody>;

export const qosLimitsBody = Type.Object(limitFields, { additionalProperties: false });
export type QosLimitsBody = Static<typeof qosLimitsBody>;
