/**
 * Idempotency-Key on every POST, per principal and route.
 *
 * Operations keep their key with the journal row. Other POSTs that make something take the key in the store before
 * their effect and leave their answer there; if the process dies in between, the repeat runs again, which is harmless
 * because creation is idempotent by name; while the first one is under way here, a repeat is refused. POSTs whose repeat is harmless and whose old answer would mislead (a host's
 * inventory) take a key and ignore it.
 */
import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { limits } from '../config/limits.ts';
import { Failure } from '../domain/errors.ts';
import type { IdempotentRequest, NewBatch } from '../store/store.ts';
import { type App, principalOf, type RouteContext } from './app.ts';

export interface Idempotent {
  readonly request: IdempotentRequest;
  /** False: an earlier request with this key came this far, and may have had its effect. */
  readonly first: boolean;
  /** What is remembered instead of the answer itself, where that holds a secret. */
  remember: string | null;
}

declare module 'fastify' {
  interface FastifyRequest {
    idempotent: Idempotent | null;
  }
}

export function registerIdempotency(app: App, context: RouteContext): void {
  const underWay = new Set<string>();
  app.decorateRequest('idempotent', null);
  app.addHook('preHandler', async (request, reply) => {
    const key = keyOf(request);
    if (key === null || request.routeOptions.config.idempotency !== 'remembered') return;
    return await begin(context, request, reply, { key, underWay });
  });
  app.addHook('onSend', async (request, reply, payload) => {
    const { idempotent } = request;
    if (idempotent === null) return payload;
    if (reply.statusCode < 300) await end(context, request, idempotent, reply, payload);
    underWay.delete(textOf(idempotent.request));
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

async function begin(
  context: RouteContext,
  request: FastifyRequest,
  reply: FastifyReply,
  { key, underWay }: { readonly key: string; readonly underWay: Set<string> },
) {
  const body = sha256(canonicalJson([request.params, request.body ?? null]));
  const scope = { principal: principalOf(request).id, route: routeOf(request), key, bodyHash: body };
  const text = textOf(scope);
  if (underWay.has(text)) throw inUse();
  underWay.add(text);
  try {
    const begun = await context.controlPlane.store.idempotencyBegin(scope);
    if (begun.answer === null) {
      request.idempotent = { request: scope, first: begun.first, remember: null };
      return undefined;
    }
    return reply.code(begun.answer.status).type('application/json').serializer(asIs).send(begun.answer.body);
  } finally {
    // From here on it ends with the answer.
    if (request.idempotent === null) underWay.delete(text);
  }
}

function textOf({ principal, route, key }: IdempotentRequest): string {
  return JSON.stringify([principal, route, key]);
}

function inUse(): Failure {
  const detail = 'A request with this Idempotency-Key is under way; repeat this one in a moment.';
  return new Failure('idempotency-key-in-use', detail, { field: 'Idempotency-Key' });
}

/** The effect is there already: an answer that cannot be remembered is still the answer. */
async function end(
  context: RouteContext,
  request: FastifyRequest,
  idempotent: Idempotent,
  reply: FastifyReply,
  payload: unknown,
): Promise<void> {
  const body = idempotent.remember ?? (typeof payload === 'string' ? payload : null);
  if (body === null || body.length > limits.idempotentAnswerBytes) return;
  try {
    await context.controlPlane.store.idempotencyEnd(idempotent.request, { status: reply.statusCode, body });
  } catch (error) {
    request.log.warn({ err: error }, 'the answer of an idempotency key was not remembered');
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
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
    const stated = Object.entries(inner).filter(([, field]) => field !== null && field !== undefined);
    return Object.fromEntries(stated.sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
