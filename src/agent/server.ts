/**
 * The agent's own API on its unix socket: what is local to a host. Whoever may open the socket may mount: its file
 * mode is the access control (0600, or 0660 for a group). What probes and Prometheus ask for can be had on a port too.
 */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import fastify from 'fastify';
import { limits } from '../config/limits.ts';
import type { ListenAddress } from '../config/values.ts';
import { problem } from '../domain/errors.ts';
import type { App } from '../http/app.ts';
import { listen } from '../http/listeners.ts';
import { handleError, sendProblem } from '../http/problem.ts';
import { compileValidator } from '../http/validation.ts';
import type { AgentMetrics } from '../telemetry/agent-metrics.ts';
import type { Agent } from './agent.ts';
import { mountBody, mountParams, requestOf, unmountQuery, viewOf } from './mount-schema.ts';

export type SocketMode = 0o600 | 0o660;

export interface AgentServerOptions {
  readonly agent: Agent;
  readonly metrics: AgentMetrics;
  readonly socketPath: string;
  readonly socketMode: SocketMode;
}

/** Listens; a socket that a dead process left is replaced, one that answers and any other file are `resource-in-use`. */
export async function serveAgent(options: AgentServerOptions): Promise<{ close(): Promise<void> }> {
  const { agent, metrics, socketPath, socketMode } = options;
  const app = newApp();
  registerStatus(app, agent, metrics);
  registerMounts(app, agent);
  await listen(app, { unix: { path: socketPath, mode: socketMode } });
  return { close: () => app.close() };
}

/** Health, readiness and metrics alone, without a token: nothing of it names a volume. Answers the port. */
export async function serveAgentStatus(options: {
  readonly agent: Agent;
  readonly metrics: AgentMetrics;
  readonly listen: ListenAddress;
}): Promise<{ readonly port: number; close(): Promise<void> }> {
  const app = newApp();
  registerStatus(app, options.agent, options.metrics);
  const { host, port: wanted } = options.listen;
  await app.listen({ host, port: wanted });
  const address = app.server.address();
  const port = address !== null && typeof address === 'object' ? address.port : wanted;
  return { port, close: () => app.close() };
}

function newApp(): App {
  const settings = { bodyLimit: limits.agentBodyBytes, forceCloseConnections: 'idle' as const };
  const app: App = fastify(settings).withTypeProvider<TypeBoxTypeProvider>();
  app.setValidatorCompiler(compileValidator);
  app.setErrorHandler(handleError);
  app.setNotFoundHandler((request, reply) =>
    sendProblem(reply, problem('route-not-found', `There is no ${request.method} ${request.url.slice(0, 200)}.`)),
  );
  return app;
}

function registerStatus(app: App, agent: Agent, { registry }: AgentMetrics): void {
  app.get('/healthz', () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) => {
    const unready = agent.readiness();
    if (unready.length === 0) return reply.send({ status: 'ready', unready });
    return reply.code(503).header('retry-after', limits.retryAfterSeconds).send({ status: 'not-ready', unready });
  });
  app.get('/metrics', async (_request, reply) =>
    reply.header('content-type', registry.contentType).send(await registry.metrics()),
  );
}

function registerMounts(routes: App, agent: Agent): void {
  routes.get('/v1/status', () => agent.status());
  routes.get('/v1/mounts', () => ({ items: agent.mounts().map(viewOf) }));
  routes.post('/v1/mounts', { schema: { body: mountBody } }, async (request, reply) => {
    const { existing, ...record } = await agent.mount(requestOf(request.body));
    return reply.code(existing ? 200 : 201).send(viewOf(record));
  });
  routes.delete(
    '/v1/mounts/:id',
    { schema: { params: mountParams, querystring: unmountQuery } },
    async (request, reply) => {
      await agent.unmount(request.params.id, request.query);
      return reply.code(204).send();
    },
  );
}
