/**
 * Idempotency-Key on every POST, per principal and route.
 *
 * Operations keep their key with the journal row. Other POSTs that make something take the key in the store before
 * their effect and leave their answer there; the store decides, over all replicas, who has it. If the process dies in
 * between, a repeat gets the key a moment later and runs again, which is harmless because creation is idempotent by
 * name. Who was overtaken so does not give its answer: it may tell of what the other one has replaced. POSTs whose
 * repeat is harmless and whose old answer would mislead (a host's inventory) take a key and ignore it.
 */
import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { limits } from '../config/limits.ts';
import { Failure } from '../domain/errors.ts';
import type { HeldKey, NewBatch } from '../store/store.ts';
import { type App, principalOf, type RouteContext } from './app.ts';

export interface Idempotent extends HeldKey {
  /** What is remembered instead of the answer itself, where that holds a secret. */
  remember: string | null;
}

declare module 'fastify' {
  interface FastifyRequest {
    idempotent: Idempotent | null;
  }
}

export function registerIdempotency(app: App, context: RouteContext): void {
  app.decorateRequest('idempotent', null);
  app.addHook('preHandler', async (request, reply) => {
    const key = keyOf(request);
    if (key === null || request.routeOptions.config.idempotency !== 'remembered') return;
    return await begin(context, request, reply, key);
  });
  app.addHook('onSend', async (request, reply, payload) => {
    const { idempotent } = request;
    if (idempotent === null) return payload;
    request.idempotent = null;
    if (reply.statusCode < 300) await end(context, request, { idempotent, status: reply.statusCode, payload });
    else await release(context, request, idempotent);
    return payload;
  });
}

/** The key of a request whose effect is in the journal; `canonical` is its parsed body, equal for equal requests. */
export function journalledKey(request: FastifyRequest, canonical: unknown): NewBatch['idempotency'] {
  const key = keyOf(request);
  if (key === null) return null;
  return { route: routeOf(request), key, bodyHash: sha256(JSON.stringify(canonical)) };
}

function keyOf(request: FastifyRequest): string | null {
  const key = request.headers['idempotency-key'];
  if (request.method !== 'POST' || key === undefined) return null;
  if (typeof key === 'string' && key.length <= limits.idempotencyKeyLength && /^[!-~]+$/.test(key)) return key;
  const detail = `Idempotency-Key: 1 to ${limits.idempotencyKeyLength} visible ASCII characters are accepted.`;
  throw new Failure('invalid-request', detail, { field: 'Idempotency-Key' });
}

async function begin(context: RouteContext, request: FastifyRequest, reply: FastifyReply, key: string) {
  const bodyHash = sha256(canonicalJson([request.params, request.body ?? null]));
  const scope = { principal: principalOf(request).id, route: routeOf(request), key, bodyHash };
  const begun = await context.controlPlane.store.idempotencyBegin(scope);
  if (begun.answer === null) {
    const { claim, first } = begun;
    request.idempotent = { request: scope, claim, first, remember: null };
    return undefined;
  }
  return reply.code(begun.answer.status).type('application/json').serializer(asIs).send(begun.answer.body);
}

/** The effect is there already: an answer that cannot be remembered is still the answer, unless another has overtaken it. */
async function end(
  context: RouteContext,
  request: FastifyRequest,
  answered: { readonly idempotent: Idempotent; readonly status: number; readonly payload: unknown },
): Promise<void> {
  const { idempotent, status, payload } = answered;
  const body = idempotent.remember ?? (typeof payload === 'string' ? payload : null);
  if (body === null || body.length > limits.idempotentAnswerBytes) return await release(context, request, idempotent);
  try {
    const { store } = context.controlPlane;
    if (await store.idempotencyEnd(idempotent.request, idempotent.claim, { status, body })) return;
  } catch (error) {
    request.log.warn({ err: error }, 'the answer of an idempotency key was not remembered');
    return await release(context, request, idempotent);
  }
  const detail = 'A repeat of this request has overtaken it: repeat this one for the answer.';
  throw new Failure('idempotency-key-in-use', detail, { field: 'Idempotency-Key' });
}

async function release(context: RouteContext, request: FastifyRequest, { request: scope, claim }: Idempotent) {
  try {
    await context.controlPlane.store.idempotencyRelease(scope, claim);
  } catch (error) {
    request.log.warn({ err: error }, 'an idempotency key is free again in a moment only');
  }
}

function routeOf(request: FastifyRequest): string {
  return `${request.method} ${request.routeOptions.url ?? ''}`;
}

/** A body that was remembered as text goes out as that text. */
function asIs(payload: unknown): string {
  return typeof payload === 'string' ? payload : JSON.stringify(payload);
}

/** Keys sorted, null and absent the same: equal requests are equal text. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
    const stated = Object.entries(inner).filter(([, field]) => field !== null && field !== undefined);
    return Object.fromEntries(stated.sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
