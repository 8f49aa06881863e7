import { type ErrorCode, errorCatalogue } from '../../domain/errors.ts';
import * as out from './output.ts';

/** RFC 9457, with this product's members. */
export interface ProblemDocument {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly field?: string;
  readonly related?: Readonly<Record<string, string>>;
}

export const problemSchema = out.named<ProblemDocument>(
  'Problem',
  out.object<ProblemDocument>(
    'Why there is no result (RFC 9457).',
    {
      type: out.text('URI of the sort of problem.', 'urn:fc-redirect:problem:volume-in-use'),
      title: out.text('What the code means.', 'The volume is attached'),
      status: out.integer('HTTP status.', 409),
      detail: out.text('What happened here, for people.', 'Volume data is attached to node1.'),
      code: out.oneOf(Object.keys(errorCatalogue), 'Stable code, for programs.'),
      retryable: out.flag('Whether the same request can succeed later without anybody changing it.'),
      field: out.text('Field of the request that is to blame.', 'operations[3].params.name'),
      related: out.labels('Related resources, e.g. the holder of a volume.'),
    },
    ['field', 'related'],
  ),
);
