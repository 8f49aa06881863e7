/**
 * The HTTP layer put together: one application over a control plane, bounded in bodies, requests and connections.
 *
 * Hooks run in the order in which they are registered: room, who asks, idempotency, then the route. Every answer that is
 * not a result is a problem, whoever found it.
 */
import http from 'node:http';
import https from 'node:https';
import Fastify, { type FastifyBaseLogger, type FastifyRequest, LogController } from 'fastify';
import { limits } from '../config/limits.ts';
import { Failure } from '../domain/errors.ts';
import { newId } from '../domain/ids.ts';
import type { ControlPlane } from '../operations/control-plane.ts';
import type { Clock } from '../system/clock.ts';
import type { App, HttpMetrics, RouteContext } from './app.ts';
import { registerAuthentication } from './authentication.ts';
import { serveDocumentText } from './document.ts';
import { EventFeed } from './event-feed.ts';
import { registerIdempotency } from './idempotency.ts';
import { registerOpenApi } from './openapi.ts';
import { handleError, Refused, sendProblem } from './problem.ts';
import { registerAttachments } from './routes/attachments.ts';
import { registerEvents } from './routes/events.ts';
import { registerFlowPolicies } from './routes/flow-policies.ts';
import { registerHosts } from './routes/hosts.ts';
import { registerOperationBatches } from './routes/operation-batches.ts';
import { registerOperations } from './routes/operations.ts';
import { registerPools } from './routes/pools.ts';
import { registerQosPolicies } from './routes/qos-policies.ts';
import { registerMetrics, registerStatus } from './routes/status.ts';
import { registerAdoption, registerStorageNodeList, registerStorageNodes } from './routes/storage-nodes.ts';
import { registerTokens } from './routes/tokens.ts';
import { registerVolumes } from './routes/volumes.ts';
import { TokenCache } from './token-cache.ts';
import { holdsUnstorableText } from './unstorable-text.ts';
import { closeQuery, compileValidator } from './validation.ts';
import { Waiting } from './waiting.ts';

export interface ServerOptions {
  readonly controlPlane: ControlPlane;
  readonly logger: FastifyBaseLogger;
  readonly metrics: HttpMetrics;
  readonly clock: Clock;
  readonly tls?: ServerTls | null;
  /** False: `/metrics` is not there. */
  readonly serveMetrics?: boolean;
  /** False: a worker's listener, with its status and what concerns its own storage node alone. */
  readonly serveApi?: boolean;
}

/** PEM texts. With `clientCa` a client certificate signed by it is needed, besides the bearer token. */
export interface ServerTls {
  readonly cert: string;
  readonly key: string;
  readonly clientCa?: string;
}

const unstorable = new Failure('invalid-request', 'body: text with NUL or half a surrogate pair is refused.', {
  field: 'body',
});

export function buildServer(options: ServerOptions): App {
  const app = newApp(options);
  const context = contextOf(options);
  app.setValidatorCompiler(compileValidator);
  app.setErrorHandler(handleError);
  app.setNotFoundHandler((request, reply) => {
    const detail = `There is no ${request.method} ${request.url.split('?')[0]?.slice(0, 200)}; /docs shows what there is.`;
    return sendProblem(reply, new Failure('route-not-found', detail).problem);
  });
  acceptJsonOnly(app);
  app.addHook('onRequest', async (request, reply) => void reply.header('x-request-id', request.id));
  keepRoom(app, context.waiting);
  tellRequests(app, options.metrics);
  app.addHook('onRoute', closeQuery);
  registerOpenApi(app);
  registerAuthentication(app, context);
  registerIdempotency(app, context);
  // Routes come after the document's plugin, which collects them.
  const register = options.serveApi === false ? registerWorkerRoutes : registerRoutes;
  app.register(async (scope) => {
    register(scope as App, context);
    registerStatus(scope as App, context);
    if (options.serveMetrics !== false) registerMetrics(scope as App, context);
  });
  app.addHook('preClose', async () => await context.events.close());
  return app;
}

function contextOf(options: ServerOptions): RouteContext {
  return {
    get controlPlane() {
      return options.controlPlane;
    },
    clock: options.clock,
    metrics: options.metrics,
    tokens: new TokenCache((hash) => options.controlPlane.store.tokenFind(hash), options.clock),
    events: new EventFeed(() => options.controlPlane.store),
    waiting: new Waiting(),
  };
}

function newApp(options: ServerOptions): App {
  return Fastify({
    loggerInstance: options.logger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: limits.bodyBytes,
    pluginTimeout: limits.serverStartMs,
    routerOptions: { maxParamLength: limits.urlParameterLength, ignoreTrailingSlash: false },
    exposeHeadRoutes: false,
    return503OnClosing: true,
    forceCloseConnections: 'idle',
    genReqId: (request) => requestId(request.headers['x-request-id']),
    serverFactory: (handler) => boundedServer(handler, options.tls ?? null),
    frameworkErrors: (error, request, reply) => void handleError(error, request as FastifyRequest, reply),
  }) as App;
}

function boundedServer(handler: http.RequestListener, tls: ServerTls | null): http.Server {
  const timeouts = { requestTimeout: limits.requestReceiveMs, keepAliveTimeout: limits.keepAliveMs };
  const server =
    tls === null ? http.createServer(timeouts, handler) : https.createServer({ ...timeouts, ...tlsOf(tls) }, handler);
  server.maxConnections = limits.connections;
  return server;
}

function tlsOf(tls: ServerTls): https.ServerOptions {
  const { cert, key, clientCa } = tls;
  const own = { cert, key, minVersion: 'TLSv1.2' } as const;
  return clientCa === undefined ? own : { ...own, ca: clientCa, requestCert: true, rejectUnauthorized: true };
}

/** A caller's own id is kept if it is harmless in a log. */
function requestId(stated: string | readonly string[] | undefined): string {
  return typeof stated === 'string' && /^[\w.:-]{1,128}$/.test(stated) ? stated : newId('req');
}

/** An empty body is no body, whatever its type says; anything but JSON is refused with 415. */
function acceptJsonOnly(app: App): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    const text = String(body);
    if (text.length === 0) done(null, undefined);
    else if (holdsUnstorableText(text)) done(new Refused(unstorable));
    else parse(request, text, done);
  });
}

function keepRoom(app: App, waiting: Waiting): void {
  const bodies = new WeakMap<object, number>();
  app.addHook('onRequest', (request, reply, done) => {
    const bytes = bodyBytesOf(request);
    waiting.enter(bytes);
    bodies.set(request, bytes);
    reply.raw.once('close', () => waiting.leave(bytes));
    done();
  });
}

function bodyBytesOf(request: FastifyRequest): number {
  if (request.headers['transfer-encoding'] !== undefined) return limits.bodyBytes;
  const stated = Number(request.headers['content-length'] ?? 0);
  return Number.isFinite(stated) ? Math.min(Math.max(0, stated), limits.bodyBytes) : limits.bodyBytes;
}

/** After its answer: one line in the log, one observation in the metrics. */
function tellRequests(app: App, metrics: HttpMetrics): void {
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? null;
    const { method } = request;
    const { statusCode, elapsedTime: durationMs } = reply;
    metrics.httpAnswered({ method, route, statusCode, durationMs });
    // Reads come from pollers and scrapers, many a second.
    const level = method === 'GET' && statusCode < 400 ? 'debug' : 'info';
    const principal = request.principal?.name ?? null;
    request.log[level]({ method, route, status: statusCode, durationMs: hundredths(durationMs), principal }, 'request');
    done();
  });
}

function hundredths(durationMs: number): number {
  return Math.round(durationMs * 100) / 100;
}

function registerRoutes(app: App, context: RouteContext): void {
  registerPools(app, context);
  registerVolumes(app, context);
  registerAttachments(app, context);
  registerHosts(app, context);
  registerStorageNodes(app, context);
  registerFlowPolicies(app, context);
  registerQosPolicies(app, context);
  registerOperationBatches(app, context);
  registerOperations(app, context);
  registerTokens(app, context);
  registerEvents(app, context);
  serveDocumentText(app);
}

/** The data of its storage node is bound to the store by whoever has the node. */
function registerWorkerRoutes(app: App, context: RouteContext): void {
  registerStorageNodeList(app, context);
  registerAdoption(app, context);
}
