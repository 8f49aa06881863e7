/**
 * The closed catalogue of everything that this product can answer with instead of a result.
 *
 * A kind says what sort of failure it is and is free of transport: each edge (HTTP, CLI, Docker ...) owns one table
 * from kind to its own code. A code is stable: programs match on it. `retryable` tells a client whether the very same
 * request can succeed later without anybody changing it.
 */
export type ErrorKind =
  | 'invalid'
  | 'unsupported-media'
  | 'unauthenticated'
  | 'forbidden'
  | 'not-found'
  | 'conflict'
  | 'precondition-failed'
  | 'precondition-required'
  | 'unprocessable'
  | 'too-large'
  | 'exhausted'
  | 'overloaded'
  | 'unavailable'
  | 'internal';

interface CatalogueEntry {
  readonly kind: ErrorKind;
  readonly retryable: boolean;
  readonly title: string;
}

export const errorCatalogue = {
  'invalid-request': { kind: 'invalid', retryable: false, title: 'The request is not valid' },
  'invalid-wwpn': { kind: 'invalid', retryable: false, title: 'Not a Fibre Channel port name' },
  'invalid-size': { kind: 'invalid', retryable: false, title: 'Not a size' },
  'invalid-name': { kind: 'invalid', retryable: false, title: 'Not a name' },
  'invalid-configuration': { kind: 'invalid', retryable: false, title: 'The configuration is not valid' },
  'malformed-body': { kind: 'invalid', retryable: false, title: 'The body is not JSON' },
  'unsupported-media-type': { kind: 'unsupported-media', retryable: false, title: 'The body must be application/json' },
  'body-too-large': { kind: 'too-large', retryable: false, title: 'The body is too large' },
  unauthenticated: { kind: 'unauthenticated', retryable: false, title: 'A valid bearer token is needed' },
  forbidden: { kind: 'forbidden', retryable: false, title: 'This token may not do that' },
  'route-not-found': { kind: 'not-found', retryable: false, title: 'No such route' },
  'pool-not-found': { kind: 'not-found', retryable: false, title: 'No such pool' },
  'volume-not-found': { kind: 'not-found', retryable: false, title: 'No such volume' },
  'attachment-not-found': { kind: 'not-found', retryable: false, title: 'No such attachment' },
  'host-not-found': { kind: 'not-found', retryable: false, title: 'No such host' },
  'storage-node-not-found': { kind: 'not-found', retryable: false, title: 'No such storage node' },
  'flow-policy-not-found': { kind: 'not-found', retryable: false, title: 'No such flow policy' },
  'qos-policy-not-found': { kind: 'not-found', retryable: false, title: 'No such QoS policy' },
  'operation-not-found': { kind: 'not-found', retryable: false, title: 'No such operation' },
  'batch-not-found': { kind: 'not-found', retryable: false, title: 'No such operation batch' },
  'token-not-found': { kind: 'not-found', retryable: false, title: 'No such token' },
  'mount-not-found': { kind: 'not-found', retryable: false, title: 'No such mount' },
  'name-taken': { kind: 'conflict', retryable: false, title: 'The name is in use with other fields' },
  'pool-in-use': { kind: 'conflict', retryable: false, title: 'The pool still has volumes' },
  'pool-draining': { kind: 'conflict', retryable: false, title: 'The pool is being drained' },
  'volume-in-use': { kind: 'conflict', retryable: false, title: 'The volume is attached' },
  'volume-not-ready': { kind: 'conflict', retryable: true, title: 'The volume is not in a state that allows this' },
  'volume-not-failed': { kind: 'conflict', retryable: false, title: 'The volume is not quarantined' },
  'resource-in-use': { kind: 'conflict', retryable: false, title: 'Something still refers to it' },
  'resource-held': { kind: 'conflict', retryable: true, title: 'Another batch is deciding about this resource' },
  'host-conflict': { kind: 'conflict', retryable: false, title: 'Another machine holds this name or port' },
  'host-unreachable-paths': { kind: 'conflict', retryable: false, title: 'No path from the host to the volume' },
  'cannot-fence': { kind: 'conflict', retryable: true, title: 'The exporter cannot revoke access by itself' },
  'stale-epoch': { kind: 'conflict', retryable: false, title: 'The attachment has moved on' },
  'stale-generation': { kind: 'conflict', retryable: false, title: 'A newer effect was already carried out' },
  'identity-mismatch': { kind: 'conflict', retryable: false, title: 'The device is not the one that was expected' },
  'device-busy': { kind: 'conflict', retryable: true, title: 'The device is still in use' },
  'mount-path-busy': { kind: 'conflict', retryable: false, title: 'The mount path is not free' },
  'store-foreign': { kind: 'conflict', retryable: false, title: 'The data belongs to another store or a newer one' },
  'directory-in-use': { kind: 'conflict', retryable: false, title: 'Another process uses this data directory' },
  'medium-not-empty': { kind: 'internal', retryable: false, title: 'The medium still holds data after its wipe' },
  'batch-aborted': { kind: 'conflict', retryable: false, title: 'Another operation of the batch failed' },
  'etag-mismatch': { kind: 'precondition-failed', retryable: false, title: 'The resource has changed' },
  'if-match-required': { kind: 'precondition-required', retryable: false, title: 'If-Match is required' },
  'idempotency-key-reused': { kind: 'unprocessable', retryable: false, title: 'The key was used with another body' },
  'idempotency-key-in-use': { kind: 'conflict', retryable: true, title: 'A request with this key is under way' },
  'pool-exhausted': { kind: 'exhausted', retryable: true, title: 'The pool has no volume left' },
  'no-pool-fits': { kind: 'unprocessable', retryable: false, title: 'No pool can serve this size' },
  'luns-exhausted': { kind: 'exhausted', retryable: true, title: 'No LUN number is free' },
  'out-of-space': { kind: 'exhausted', retryable: true, title: 'There is not enough space left' },
  'limit-reached': { kind: 'conflict', retryable: false, title: 'A configured limit is reached' },
  'journal-full': { kind: 'overloaded', retryable: true, title: 'Too many operations are waiting' },
  'too-many-requests': { kind: 'overloaded', retryable: true, title: 'Too many requests at once' },
  'store-unavailable': { kind: 'unavailable', retryable: true, title: 'The store does not answer' },
  'storage-node-unavailable': { kind: 'unavailable', retryable: true, title: 'The storage node does not answer' },
  'storage-failed': { kind: 'unavailable', retryable: false, title: 'The storage node could not carry it out' },
  'writes-lost': { kind: 'unavailable', retryable: true, title: 'What was written last could not be kept' },
  'controller-unavailable': { kind: 'unavailable', retryable: true, title: 'The controller does not answer' },
  'deadline-exceeded': { kind: 'unavailable', retryable: true, title: 'It took too long; the outcome is unknown' },
  'not-supported': { kind: 'unprocessable', retryable: false, title: 'Not supported here' },
  'device-error': { kind: 'internal', retryable: true, title: 'A device or system call failed' },
  'data-damaged': { kind: 'internal', retryable: false, title: 'Durable data is damaged' },
  internal: { kind: 'internal', retryable: true, title: 'Internal error' },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof errorCatalogue;

/** What a failure looks like once it is stored or sent: no stack, no internal context. */
export interface Problem {
  readonly code: ErrorCode;
  readonly detail: string;
  /** Dotted path of the offending field of the request, where one field is to blame. */
  readonly field?: string;
  /** Names of related resources, e.g. the holder of a volume. */
  readonly related?: Readonly<Record<string, string>>;
}

export interface FailureOptions {
  readonly field?: string;
  readonly related?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** Something that the world can do to us; thrown, caught at an edge and translated there. */
export class Failure extends Error {
  readonly problem: Problem;

  constructor(code: ErrorCode, detail: string, options: FailureOptions = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'Failure';
    this.problem = problem(code, detail, options);
  }

  get code(): ErrorCode {
    return this.problem.code;
  }

  static from(source: Problem): Failure {
    return new Failure(source.code, source.detail, source);
  }
}

export function problem(code: ErrorCode, detail: string, options: FailureOptions = {}): Problem {
  return {
    code,
    detail,
    ...(options.field === undefined ? {} : { field: options.field }),
    ...(options.related === undefined ? {} : { related: options.related }),
  };
}

/** The problem to show for anything that was thrown; what is not ours becomes `internal` without its message. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Failure) return error.problem;
  return problem('internal', 'An internal error occurred; the log has the details.');
}

/** For what only a bug can break. `id` is fixed and unique, so that a report finds its line. */
export function assert(condition: unknown, id: string): asserts condition {
  if (!condition) throw new BrokenAssertion(`assertion ${id} failed`);
}

/** A bug of ours was found by an assertion. */
export class BrokenAssertion extends Error {}
