import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { Failure } from '../../domain/errors.ts';
import { newId } from '../../domain/ids.ts';
import { parseName } from '../../domain/names.ts';
import type { IdempotentRequest, NewToken } from '../../store/store.ts';
import type { App, RouteContext } from '../app.ts';
import { listQuery, pageRequest, pathParameter } from '../paging.ts';
import { answer, noContent } from '../schema/answers.ts';
import { createdTokenSchema, type NewTokenBody, newTokenBody, tokenPageSchema } from '../schema/token.ts';
import { hashToken, newTokenSecret } from '../token-cache.ts';

const params = pathParameter('id', 'Id of the token.', 'tok_01JD0000000000000000000000');
const tags = ['tokens'];

export function registerTokens(app: App, context: RouteContext): void {
  const querystring = listQuery({});
  app.get(
    '/v1/tokens',
    { schema: { tags, summary: 'List tokens', querystring, response: { 200: answer(tokenPageSchema) } } },
    async (request) => await context.controlPlane.store.tokenList(pageRequest(request.query)),
  );
  registerCreate(app, context);
  app.delete(
    '/v1/tokens/:id',
    {
      schema: {
        tags,
        summary: 'Revoke a token',
        description: 'Takes effect at once here, and within seconds at other replicas.',
        params,
        response: { 204: noContent('Revoked.') },
      },
    },
    async (request, reply) => {
      await context.controlPlane.store.tokenDelete(request.params.id);
      context.tokens.clear();
      return reply.code(204).send();
    },
  );
}

function registerCreate(app: App, context: RouteContext): void {
  const description = 'The secret is in this answer and nowhere else: only its hash is kept.';
  app.post(
    '/v1/tokens',
    {
      config: { idempotency: 'remembered' },
      schema: {
        tags,
        summary: 'Create a token',
        description,
        body: newTokenBody,
        response: { 201: answer(createdTokenSchema, 'Created.') },
      },
    },
    async (request, reply) => {
      const secret = newTokenSecret();
      const wanted = parseToken(request.body, idOf(request), hashToken(secret), context.clock.now());
      const key = request.idempotent;
      const token = await context.controlPlane.store.tokenCreate(wanted, key);
      // Nobody has the secret of a token whose creation was never answered, and which this one has replaced.
      if (key?.first === false) context.tokens.clear();
      if (key !== null) key.remember = JSON.stringify({ ...token, secret: null });
      return reply.code(201).send({ ...token, secret });
    },
  );
}

function parseToken(body: NewTokenBody, id: string, hash: string, now: number): NewToken {
  const host = body.host ?? null;
  if ((body.role === 'host') !== (host !== null)) {
    const detail = 'host: needed with the role host, and accepted with no other role.';
    throw new Failure('invalid-request', detail, { field: 'host' });
  }
  const seconds = body.expiresInSeconds ?? null;
  const expiresAt = seconds === null ? null : now + seconds * 1000;
  return { id, name: parseName(body.name), hash, role: body.role, host, expiresAt };
}

/** Under an idempotency key the id follows from the key: a repeat after a crash finds what it left behind. */
function idOf(request: FastifyRequest): string {
  const { idempotent } = request;
  return idempotent === null ? newId('tok') : idOfKey(idempotent.request);
}

function idOfKey(request: IdempotentRequest): string {
  const text = JSON.stringify([request.principal, request.route, request.key]);
  return `tok_0${createHash('sha256').update(text).digest('hex').slice(0, 25).toUpperCase()}`;
}
