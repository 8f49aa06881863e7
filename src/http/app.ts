/** What every part of the HTTP layer sees of the others: the application's type, its context, and who asks. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyBaseLogger, FastifyInstance, FastifyRequest } from 'fastify';
import type { Registry } from 'prom-client';
import { assert } from '../domain/errors.ts';
import type { Principal } from '../domain/principal.ts';
import type { ControlPlane } from '../operations/control-plane.ts';
import type { Clock } from '../system/clock.ts';
import type { EventFeed } from './event-feed.ts';
import type { TokenCache } from './token-cache.ts';
import type { Waiting } from './waiting.ts';

export type App = FastifyInstance<Server, IncomingMessage, ServerResponse, FastifyBaseLogger, TypeBoxTypeProvider>;

/** What the HTTP layer counts, and where the counts are read. */
export interface HttpMetrics {
  readonly registry: Registry;
  httpAnswered(answer: {
    readonly method: string;
    readonly route: string | null;
    readonly statusCode: number;
    readonly durationMs: number;
  }): void;
}

/** `controlPlane` is looked at while a request is served, never while routes are made. */
export interface RouteContext {
  readonly controlPlane: ControlPlane;
  readonly clock: Clock;
  readonly metrics: HttpMetrics;
  readonly tokens: TokenCache;
  readonly events: EventFeed;
  readonly waiting: Waiting;
}

declare module 'fastify' {
  interface FastifyRequest {
    principal: Principal | null;
  }
  interface FastifyContextConfig {
    /** What an Idempotency-Key does on this route; every POST states it. */
    idempotency?: 'remembered' | 'journalled' | 'harmless';
    /** Whether the route honours the Prefer header. */
    prefer?: true;
  }
}

/** Behind the access check of a route that is not open to anyone, somebody always asks. */
export function principalOf(request: FastifyRequest): Principal {
  assert(request.principal !== null, 'http-principal-missing');
  return request.principal;
}
