import type {
  Atomicity,
  BatchState,
  Decision,
  OperationResource,
  OperationState,
  OperationType,
} from '../../domain/operation.ts';
import { batchTransitions, operationTransitions, operationTypes } from '../../domain/operation.ts';
import { operationParamsSchemas } from '../../operations/validate.ts';
import * as out from './output.ts';
import { type ProblemDocument, problemSchema } from './problem.ts';

export interface OperationView {
  readonly id: string;
  readonly batch: string;
  readonly type: OperationType;
  readonly state: OperationState;
  readonly existing: boolean;
  readonly requestedBy: string;
  readonly acceptedAt: number;
  readonly endedAt: number | null;
  /** Present when it has succeeded; null when nothing is left of the resource. */
  readonly resource?: OperationResource | null;
  /** Present when it has failed. */
  readonly problem?: ProblemDocument;
}

export const operationStates = Object.keys(operationTransitions) as OperationState[];

export const operationSchema = out.named<OperationView>(
  'Operation',
  out.object<OperationView>(
    'One intent, and how far it is.',
    {
      id: out.text('Id: that of the batch, a dash, and the place in it.', 'bat_01JD0000000000000000000000-0'),
      batch: out.text('Batch that it belongs to.', 'bat_01JD0000000000000000000000'),
      type: out.oneOf(operationTypes, 'What was asked for.'),
      state: out.oneOf(operationStates, 'How far it is.'),
      existing: out.flag('Whether the resource was there already, with equal fields.'),
      requestedBy: out.text('Who asked.', 'ops'),
      acceptedAt: out.instant('When it was accepted'),
      endedAt: out.instantOrNull('When it ended'),
      resource: {
        type: ['object', 'null'],
        additionalProperties: true,
        description: 'The resource as it was when the operation succeeded; null when it was removed.',
      },
      problem: { $ref: `${problemSchema.$id}#` },
    },
    ['resource', 'problem'],
  ),
);
export const operationPageSchema = out.pageOf(operationSchema);

export interface BatchView {
  readonly id: string;
  readonly state: BatchState;
  readonly atomicity: Atomicity;
  readonly decision: Decision | null;
  readonly requestedBy: string;
  readonly acceptedAt: number;
  readonly endedAt: number | null;
  readonly operations: readonly OperationView[];
}

export const batchAnswerSchema = out.named<BatchView>(
  'OperationBatch',
  out.object<BatchView>('The operations of one request, in its order.', {
    id: out.text('Id of the batch.', 'bat_01JD0000000000000000000000'),
    state: out.oneOf(Object.keys(batchTransitions), 'How far it is.'),
    atomicity: out.oneOf(['per-operation', 'all-or-nothing'], 'Whether it takes effect as a whole.'),
    decision: out.oneOfOrNull(['commit', 'undoing'], 'What was decided about an all-or-nothing batch.'),
    requestedBy: out.text('Who asked.', 'ops'),
    acceptedAt: out.instant('When it was accepted'),
    endedAt: out.instantOrNull('When it ended'),
    operations: out.listOf({ $ref: 'Operation#' }, 'The operations, in the order of the request.'),
  }),
);

/** What a batch is documented as; what validates it is `parseBatch`, which names the operation that is wrong. */
export const batchBody = {
  type: 'object',
  additionalProperties: false,
  required: ['operations'],
  properties: {
    atomicity: {
      type: ['string', 'null'],
      enum: ['per-operation', 'all-or-nothing', null],
      description:
        'Whether each operation stands alone (the default) or all of them take effect or none. All or none: detaches and deletions are carried out last, so that what builds on one of them (an attach elsewhere, its name for another volume) is refused with `resource-in-use` and belongs into a later batch; a detach and the deletion of the same volume go together.',
    },
    operations: {
      type: 'array',
      minItems: 1,
      maxItems: 1000,
      description: 'What to do, in this order where one resource is concerned.',
      items: {
        oneOf: operationTypes.map((type) => ({
          type: 'object',
          additionalProperties: false,
          required: ['type', 'params'],
          properties: {
            type: { type: 'string', const: type, description: 'What to do.' },
            params: operationParamsSchemas[type],
          },
        })),
      },
    },
  },
  examples: [
    { atomicity: 'all-or-nothing', operations: [{ type: 'volume.create', params: { name: 'data', pool: 'fast' } }] },
  ],
};
