/**
 * Failures as HTTP answers: RFC 9457 problems, and the one table from kind to status.
 *
 * Nothing that is not in the catalogue goes out: an unforeseen error is logged with its stack and shown as `internal`.
 */
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { limits } from '../config/limits.ts';
import { formatByteCount } from '../domain/byte-count.ts';
import { type ErrorKind, errorCatalogue, Failure, type Problem, problem, problemOf } from '../domain/errors.ts';
import type { ProblemDocument } from './schema/problem.ts';

const statusOfKind: Readonly<Record<ErrorKind, number>> = {
  invalid: 400,
  'unsupported-media': 415,
  unauthenticated: 401,
  forbidden: 403,
  'not-found': 404,
  conflict: 409,
  'precondition-failed': 412,
  'precondition-required': 428,
  unprocessable: 422,
  'too-large': 413,
  exhausted: 429,
  overloaded: 429,
  unavailable: 503,
  internal: 500,
};

export function statusOf(told: Problem): number {
  return statusOfKind[errorCatalogue[told.code].kind];
}

export function problemDocument(told: Problem): ProblemDocument {
  const { title, retryable } = errorCatalogue[told.code];
  return {
    type: `urn:fc-redirect:problem:${told.code}`,
    title,
    status: statusOf(told),
    detail: told.detail,
    code: told.code,
    retryable,
    ...(told.field === undefined ? {} : { field: told.field }),
    ...(told.related === undefined ? {} : { related: told.related }),
  };
}

/** Sends the problem; 429 and 503 say when to come back, if coming back can help. */
export function sendProblem(reply: FastifyReply, told: Problem): FastifyReply {
  const document = problemDocument(told);
  const wait = document.status === 429 || document.status === 503;
  if (wait && document.retryable) reply.header('retry-after', String(limits.retryAfterSeconds));
  if (document.status === 401) reply.header('www-authenticate', 'Bearer');
  return reply.code(document.status).type('application/problem+json').serializer(JSON.stringify).send(document);
}

/** What the validators throw at the framework; carries the failure past its own handling of errors. */
export class Refused extends Error {
  readonly failure: Failure;
  readonly statusCode = 400;

  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}

export function handleError(error: FastifyError | Error, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const told = problemOfError(error);
  if (statusOf(told) >= 500) request.log.error({ err: error, problem: told }, 'request failed');
  return sendProblem(reply, told);
}

function problemOfError(error: FastifyError | Error): Problem {
  if (error instanceof Failure) return error.problem;
  if (error instanceof Refused) return error.failure.problem;
  const status = 'statusCode' in error ? error.statusCode : undefined;
  if (status === undefined || status >= 500) return problemOf(error);
  return problemOfFramework(status, error);
}

/** The framework refuses some requests by itself; its words are about the request alone and may go out. */
function problemOfFramework(status: number, error: Error): Problem {
  if (status === 413) return problem('body-too-large', `At most ${formatByteCount(limits.bodyBytes)} are accepted.`);
  if (status === 415) return problem('unsupported-media-type', 'Send the body as application/json.');
  if (error instanceof SyntaxError || 'code' in error) {
    return problem('malformed-body', `The request cannot be read: ${error.message.slice(0, 200)}.`);
  }
  return problem('invalid-request', error.message.slice(0, 200));
}
