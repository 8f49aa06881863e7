/**
 * From a request to operations and back to an answer, for single resources and for batches.
 *
 * Once intake has accepted, the operations are durable and will end: from there on the answer is the outcome, or 202
 * with the operation's URL, whatever else goes wrong. An error here would make a client try again what was accepted.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { assert, Failure } from '../domain/errors.ts';
import { newId } from '../domain/ids.ts';
import type { Batch, Operation, OperationSpec } from '../domain/operation.ts';
import { operationId } from '../domain/operation.ts';
import type { ParsedBatch } from '../operations/validate.ts';
import { requireHostsWord } from './access.ts';
import { principalOf, type RouteContext } from './app.ts';
import { journalledKey } from './idempotency.ts';
import { preferenceOf } from './preferences.ts';
import { problemDocument, sendProblem } from './problem.ts';
import type { BatchView, OperationView } from './schema/operation.ts';

/** Ended, or how far it is as far as can be told. */
export async function submit(
  context: RouteContext,
  request: FastifyRequest,
  reply: FastifyReply,
  batch: ParsedBatch,
): Promise<Batch> {
  const principal = principalOf(request);
  requireHostsWord(principal, batch.operations);
  const preference = preferenceOf(request.headers.prefer);
  if (preference.applied !== null) reply.header('preference-applied', preference.applied);
  if (preference.waitMs > 0) context.waiting.requireRoomToWait();
  const idempotency = journalledKey(request, batch);
  const offered = { id: newId('bat'), ...batch, principal, idempotency };
  const answer = await context.controlPlane.intake.accept(offered);
  if (!answer.accepted) throw Failure.from(answer.problem);
  const { intake, store } = context.controlPlane;
  // What is replayed has mostly ended long ago, and nobody will announce its end again.
  const known = answer.replay ? await afterAcceptance(request, () => store.batchGet(answer.batch)) : null;
  if (known?.state === 'ended' || (known !== null && preference.waitMs === 0)) return known;
  const wait = () => context.waiting.wait(() => intake.waitEnded(answer.batch, preference.waitMs));
  const ended = preference.waitMs === 0 ? null : await afterAcceptance(request, wait);
  if (ended !== null) return ended;
  const waited = preference.waitMs > 0 ? await afterAcceptance(request, () => store.batchGet(answer.batch)) : null;
  return waited ?? known ?? acceptedBatch(answer.batch, batch, principal.id, context.clock.now());
}

/** One operation that makes a resource, or removes one. */
export async function answerOperation(
  context: RouteContext,
  request: FastifyRequest,
  reply: FastifyReply,
  spec: OperationSpec,
): Promise<FastifyReply> {
  const batch = await submit(context, request, reply, { atomicity: 'per-operation', operations: [spec] });
  const operation = batch.operations[0];
  assert(operation !== undefined, 'http-operation-missing');
  if (operation.problem !== null) return sendProblem(reply, operation.problem);
  if (operation.state !== 'succeeded') {
    return reply.code(202).header('location', `/v1/operations/${operation.id}`).send(operationView(operation));
  }
  if (spec.type.endsWith('.delete') || spec.type === 'volume.detach') return reply.code(204).send();
  return reply.code(operation.existing ? 200 : 201).send(operation.resource);
}

async function afterAcceptance<T>(request: FastifyRequest, work: () => Promise<T | null>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    request.log.warn({ err: error }, 'accepted, but the outcome could not be waited for');
    return null;
  }
}

function acceptedBatch(id: string, batch: ParsedBatch, requestedBy: string, acceptedAt: number): Batch {
  const operations = batch.operations.map(
    (spec, index): Operation => ({
      id: operationId(id, index),
      batch: id,
      type: spec.type,
      state: 'accepted',
      resource: null,
      existing: false,
      problem: null,
      requestedBy,
      acceptedAt,
      endedAt: null,
    }),
  );
  const { atomicity } = batch;
  return { id, state: 'accepted', atomicity, decision: null, operations, requestedBy, acceptedAt, endedAt: null };
}

export function operationView(operation: Operation): OperationView {
  const { resource, problem, ...rest } = operation;
  if (problem !== null) return { ...rest, problem: problemDocument(problem) };
  return operation.state === 'succeeded' ? { ...rest, resource } : rest;
}

export function batchView(batch: Batch): BatchView {
  return { ...batch, operations: batch.operations.map(operationView) };
}
