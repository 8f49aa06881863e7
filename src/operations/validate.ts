/**
 * The one place where operations from outside become `OperationSpec`s: for the routes of single resources and for
 * batches alike.
 *
 * What comes out has its fields in a fixed order, null and absent made the same, sizes in bytes and port names in normal
 * form: two requests that mean the same are equal JSON, which is what idempotency keys compare.
 */
import { type Static, type TObject, Type } from 'typebox';
import { limits } from '../config/limits.ts';
import { accessModes } from '../domain/attachment.ts';
import { parseVolumeSize } from '../domain/byte-count.ts';
import { Failure } from '../domain/errors.ts';
import { flowActions } from '../domain/flow-policy.ts';
import { parseLabels, parseName } from '../domain/names.ts';
import type { Atomicity, OperationParams, OperationSpec, OperationType } from '../domain/operation.ts';
import { operationTypes } from '../domain/operation.ts';
import { parseWwpn } from '../domain/wwpn.ts';
import * as field from './field-schemas.ts';
import { SchemaCheck } from './schema-check.ts';

const closed = { additionalProperties: false } as const;

const volumeCreate = Type.Object(
  {
    name: field.name({ description: 'Name of the new volume.', examples: ['data'] }),
    sizeBytes: field.maybeSize({
      description:
        'Least size: bytes, or a text with a unit, rounded up to whole sectors of 512 bytes. The answer states the actual size.',
      examples: [1073741824, '10GiB'],
    }),
    pool: field.maybeReference({ description: 'Pool to take it from; absent: the smallest that is large enough.' }),
    qosPolicy: field.maybeReference({ description: 'QoS policy for everyone who uses the volume.' }),
    labels: field.maybeLabels({ description: 'Free labels, to find it again.' }),
  },
  closed,
);
const volumeDelete = Type.Object(
  { volume: field.reference({ description: 'Name or id of the volume.', examples: ['data'] }) },
  closed,
);
const volumeAttach = Type.Object(
  {
    volume: field.reference({ description: 'Name or id of the volume.', examples: ['data'] }),
    host: field.reference({ description: 'Name of the host that is to see it.', examples: ['node1'] }),
    accessMode: field.maybeOneOf(accessModes, {
      description: 'One writing host (the default), or many reading ones.',
    }),
    namespace: field.maybeNamespace({ description: 'Container whose flow policies decide the paths.' }),
    claim: field.maybeFlag({
      description: 'The host itself asks and is about to make the device; roles `admin` and `host` only.',
    }),
  },
  closed,
);
const volumeDetach = Type.Object(
  {
    attachment: field.reference({ description: 'Id of the attachment.' }),
    force: field.maybeFlag({ description: 'Fence the host off instead of waiting for its word.' }),
    goneEpoch: field.maybeInteger(
      { minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
      {
        description:
          'From the host itself: its device of this epoch is proved to be gone; roles `admin` and `host` only.',
      },
    ),
    goneProof: field.maybeText({
      description: 'How that was proved; kept with the operation.',
      examples: ['exclusive-open /dev/loop3'],
    }),
  },
  closed,
);
const flowPolicyCreate = Type.Object(
  {
    initiatorWwpn: field.maybeWwpn({ description: 'Initiator port; absent: any.' }),
    targetWwpn: field.maybeWwpn({ description: 'Target port; absent: any.' }),
    namespace: field.maybeNamespace({ description: 'Only for this container.', examples: ['c0ffee12'] }),
    action: field.oneOf(flowActions, { description: 'What happens to the flow.', examples: ['permit'] }),
    redirectTo: field.maybeWwpn({ description: 'Target port to use instead; for `redirect`, and only then.' }),
    qosPolicy: field.maybeReference({ description: 'QoS policy of the flow.' }),
  },
  closed,
);
const flowPolicyDelete = Type.Object(
  {
    flowPolicy: field.reference({ description: 'Id of the flow policy.' }),
    ifVersion: field.maybeInteger(
      { minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
      { description: 'Only if it still has this version.' },
    ),
  },
  closed,
);

/** The parameters of each operation as a request may state them. */
export const operationParamsSchemas = {
  'volume.create': volumeCreate,
  'volume.delete': volumeDelete,
  'volume.attach': volumeAttach,
  'volume.detach': volumeDetach,
  'flow-policy.create': flowPolicyCreate,
  'flow-policy.delete': flowPolicyDelete,
} as const satisfies Record<OperationType, TObject>;

type Stated = { [T in OperationType]: Static<(typeof operationParamsSchemas)[T]> };
type Parser<T extends OperationType> = (stated: Stated[T], prefix: string) => OperationParams[T];
type OperationParser = (params: unknown, prefix: string) => OperationSpec;

function parserOf<T extends OperationType>(type: T, parse: Parser<T>): OperationParser {
  const check = new SchemaCheck<Stated[T]>(operationParamsSchemas[type]);
  return (params, prefix) => ({ type, params: parse(check.check(params, prefix), prefix) }) as OperationSpec;
}

const parsers: Readonly<Record<OperationType, OperationParser>> = {
  'volume.create': parserOf('volume.create', (stated, prefix) => ({
    name: parseName(stated.name, `${prefix}name`),
    ...(isStated(stated.sizeBytes) ? { sizeBytes: parseVolumeSize(stated.sizeBytes, `${prefix}sizeBytes`) } : {}),
    ...(isStated(stated.pool) ? { pool: stated.pool } : {}),
    ...(isStated(stated.qosPolicy) ? { qosPolicy: stated.qosPolicy } : {}),
    ...(isStated(stated.labels) ? { labels: parseLabels(stated.labels, `${prefix}labels`) } : {}),
  })),
  'volume.delete': parserOf('volume.delete', (stated) => ({ volume: stated.volume })),
  'volume.attach': parserOf('volume.attach', (stated) => ({
    volume: stated.volume,
    host: stated.host,
    accessMode: stated.accessMode ?? 'single-writer',
    ...(isStated(stated.namespace) ? { namespace: stated.namespace } : {}),
    ...(stated.claim === true ? { claim: true } : {}),
  })),
  'volume.detach': parserOf('volume.detach', (stated) => ({
    attachment: stated.attachment,
    ...(stated.force === true ? { force: true } : {}),
    ...(isStated(stated.goneEpoch) ? { gone: { epoch: stated.goneEpoch, proof: stated.goneProof ?? '' } } : {}),
  })),
  'flow-policy.create': parserOf('flow-policy.create', flowPolicyParams),
  'flow-policy.delete': parserOf('flow-policy.delete', (stated) => ({
    flowPolicy: stated.flowPolicy,
    ...(isStated(stated.ifVersion) ? { ifVersion: stated.ifVersion } : {}),
  })),
};

/**
 * One operation. `fieldPrefix` stands before the names of its parameters in a failure: empty where they are the body,
 * `operations[3].params.` in a batch. Throws `invalid-request`, `invalid-name`, `invalid-size` or `invalid-wwpn`.
 */
export function parseOperation(type: OperationType, params: unknown, fieldPrefix: string): OperationSpec {
  return parsers[type](params, fieldPrefix);
}

export interface ParsedBatch {
  readonly atomicity: Atomicity;
  readonly operations: readonly OperationSpec[];
}

export const batchSchema = Type.Object(
  {
    atomicity: field.maybeOneOf(['per-operation', 'all-or-nothing'], {
      description: 'Whether each operation stands alone (the default) or all of them take effect or none.',
    }),
    operations: Type.Array(
      Type.Object({ type: Type.Unknown(), params: Type.Unknown() }, { additionalProperties: false }),
      { minItems: 1, maxItems: limits.batchOperations },
    ),
  },
  closed,
);

const batchCheck = new SchemaCheck<Static<typeof batchSchema>>(batchSchema);

/** A whole batch; the first operation that is not valid refuses all of it. */
export function parseBatch(body: unknown): ParsedBatch {
  const stated = batchCheck.check(body);
  const operations = stated.operations.map((operation, index) => {
    const prefix = `operations[${index}].`;
    return parseOperation(operationType(operation.type, prefix), operation.params, `${prefix}params.`);
  });
  return { atomicity: stated.atomicity ?? 'per-operation', operations };
}

function operationType(value: unknown, prefix: string): OperationType {
  const known = operationTypes.find((type) => type === value);
  if (known !== undefined) return known;
  const field = `${prefix}type`;
  const shown = typeof value === 'string' ? JSON.stringify(value.slice(0, 64)) : typeof value;
  const detail = `${field}: ${shown} is not an operation; accepted: ${operationTypes.join(', ')}.`;
  throw new Failure('invalid-request', detail, { field });
}

function flowPolicyParams(stated: Stated['flow-policy.create'], prefix: string): OperationParams['flow-policy.create'] {
  checkRedirect(stated.action, stated.redirectTo, prefix);
  return {
    ...portName('initiatorWwpn', stated.initiatorWwpn, prefix),
    ...portName('targetWwpn', stated.targetWwpn, prefix),
    ...(isStated(stated.namespace) ? { namespace: stated.namespace } : {}),
    action: stated.action,
    ...portName('redirectTo', stated.redirectTo, prefix),
    ...(isStated(stated.qosPolicy) ? { qosPolicy: stated.qosPolicy } : {}),
  };
}

/** `redirectTo` belongs to `redirect`: stated without it, or missing with it, the request contradicts itself. */
export function checkRedirect(action: string, redirectTo: string | null | undefined, prefix = ''): void {
  const field = `${prefix}redirectTo`;
  if (action === 'redirect' && !isStated(redirectTo)) {
    throw new Failure('invalid-request', `${field} is missing; the action redirect needs a target port.`, { field });
  }
  if (action !== 'redirect' && isStated(redirectTo)) {
    throw new Failure('invalid-request', `${field} is accepted with the action redirect only.`, { field });
  }
}

function portName<K extends string>(key: K, value: string | null | undefined, prefix: string): { [P in K]?: string } {
  const named: { [P in K]?: string } = {};
  if (isStated(value)) named[key] = parseWwpn(value, `${prefix}${key}`);
  return named;
}

function isStated<T>(value: T | null | undefined): value is T {
  return value !== undefined && value !== null;
}
