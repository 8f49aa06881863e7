/**
 * Who asks: the unix socket's caller is trusted by the file's mode and is the administrator; everyone else shows a
 * bearer token. What the caller may do is then the access table's word.
 */
import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Failure } from '../domain/errors.ts';
import type { Principal } from '../domain/principal.ts';
import { type Access, accessOf, requireRole } from './access.ts';
import type { App, RouteContext } from './app.ts';

const socketPrincipal: Principal = { id: 'unix-socket', name: 'unix-socket', role: 'admin', host: null };
const trustedSockets = new WeakSet<Socket>();

/** Called for connections over the unix socket, and for nothing else. */
export function trustConnection(socket: Socket): void {
  trustedSockets.add(socket);
}

export function registerAuthentication(app: App, context: RouteContext): void {
  const accessByRoute = new Map<string, Access>();
  app.decorateRequest('principal', null);
  app.addHook('onRoute', (route) => {
    for (const method of [route.method].flat()) {
      accessByRoute.set(`${method} ${route.url}`, accessOf(method, route.url));
    }
  });
  app.addHook('onRequest', async (request: FastifyRequest, _reply: FastifyReply) => {
    if (request.is404) return;
    const allowed = accessByRoute.get(`${request.method} ${request.routeOptions.url}`);
    if (allowed === 'anyone') return;
    const principal = await authenticate(request, context);
    requireRole(principal, allowed ?? []);
    request.principal = principal;
  });
}

async function authenticate(request: FastifyRequest, context: RouteContext): Promise<Principal> {
  if (trustedSockets.has(request.raw.socket)) return socketPrincipal;
  const secret = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (secret === undefined) throw new Failure('unauthenticated', 'Send a bearer token in the Authorization header.');
  const principal = await context.tokens.principalOf(secret);
  if (principal === null) throw new Failure('unauthenticated', 'The token is unknown, expired or revoked.');
  return principal;
}
