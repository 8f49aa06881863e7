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
import { serveDocumentText } from '../http/document.ts';
import { listen } from '../http/listeners.ts';
import { handleError, sendProblem } from '../http/problem.ts';
import { answer, noContent } from '../http/schema/answers.ts';
import { healthSchema } from '../http/schema/status.ts';
import { closeQuery, compileValidator } from '../http/validation.ts';
import type { AgentMetrics } from '../telemetry/agent-metrics.ts';
import type { Agent } from './agent.ts';
import { agentReadinessSchema, agentStatusSchema, mountListSchema, mountSchema } from './answer-schemas.ts';
import { mountBody, mountParams, requestOf, unmountQuery, viewOf } from './mount-schema.ts';
import { agentSchemas, registerAgentOpenApi } from './openapi.ts';

export type SocketMode = 0o600 | 0o660;

export interface AgentParts {
  readonly agent: Agent;
  readonly metrics: Pick<AgentMetrics, 'registry'>;
}

export interface AgentServerOptions extends AgentParts {
  readonly socketPath: string;
  readonly socketMode: SocketMode;
}

/** Listens; a socket that a dead process left is replaced, one that answers and any other file are `resource-in-use`. */
export async function serveAgent(options: AgentServerOptions): Promise<{ close(): Promise<void> }> {
  const { agent, metrics, socketPath, socketMode } = options;
  const app = agentApp({ agent, metrics });
  await listen(app, { unix: { path: socketPath, mode: socketMode } });
  return { close: () => app.close() };
}

/** `agent` and `metrics` are looked at while a request is served, never while routes are made. */
export function agentApp(parts: AgentParts): App {
  const app = newApp();
  registerAgentOpenApi(app);
  // Routes come after the document's plugin, which collects them.
  app.register(async (scope) => {
    registerStatus(scope as App, parts);
    registerMounts(scope as App, parts);
    serveDocumentText(scope as App);
  });
  return app;
}

/** Health, readiness and metrics alone, without a token: nothing of it names a volume. Answers the port. */
export async function serveAgentStatus(options: {
  readonly agent: Agent;
  readonly metrics: AgentMetrics;
  readonly listen: ListenAddress;
}): Promise<{ readonly port: number; close(): Promise<void> }> {
  const app = newApp();
  for (const schema of agentSchemas) app.addSchema(schema);
  registerStatus(app, options);
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
  app.addHook('onRoute', closeQuery);
  app.setErrorHandler(handleError);
  app.setNotFoundHandler((request, reply) =>
    sendProblem(reply, problem('route-not-found', `There is no ${request.method} ${request.url.slice(0, 200)}.`)),
  );
  return app;
}

const service = ['service'];

function registerStatus(app: App, parts: AgentParts): void {
  app.get(
    '/healthz',
    { schema: { tags: service, summary: 'Whether the agent answers', response: { 200: answer(healthSchema) } } },
    () => ({ status: 'ok' }) as const,
  );
  registerReadiness(app, parts);
  const text = { description: 'Metrics.', content: { 'text/plain': { schema: { type: 'string' } } } };
  app.get(
    '/metrics',
    { schema: { tags: service, summary: 'Metrics in Prometheus text format', response: { 200: text } } },
    async (_request, reply) => {
      const { registry } = parts.metrics;
      return reply.header('content-type', registry.contentType).send(await registry.metrics());
    },
  );
}

function registerReadiness(app: App, parts: AgentParts): void {
  const response = {
    200: answer(agentReadinessSchema, 'New mounts can be made.'),
    503: answer(agentReadinessSchema, 'New mounts would be refused.'),
  };
  app.get(
    '/readyz',
    { schema: { tags: service, summary: 'Whether new mounts would be made', response } },
    async (_request, reply) => {
      const unready = parts.agent.readiness();
      if (unready.length === 0) return reply.send({ status: 'ready', unready });
      return reply.code(503).header('retry-after', limits.retryAfterSeconds).send({ status: 'not-ready', unready });
    },
  );
}

const tags = ['mounts'];

function registerMounts(app: App, parts: AgentParts): void {
  app.get(
    '/v1/status',
    {
      schema: {
        tags: service,
        summary: 'Show how the agent is',
        response: { 200: answer(agentStatusSchema) },
      },
    },
    () => parts.agent.status(),
  );
  app.get(
    '/v1/mounts',
    { schema: { tags, summary: 'List the mounts of this machine', response: { 200: answer(mountListSchema) } } },
    () => ({ items: parts.agent.mounts().map(viewOf) }),
  );
  registerMount(app, parts);
  registerUnmount(app, parts);
}

function registerMount(app: App, parts: AgentParts): void {
  const summary = 'Attach a volume to this machine, format it if it never was, and mount it';
  const response = {
    200: answer(mountSchema, 'It was there already.'),
    201: answer(mountSchema, 'Mounted.'),
  };
  app.post('/v1/mounts', { schema: { tags, summary, body: mountBody, response } }, async (request, reply) => {
    const { existing, ...record } = await parts.agent.mount(requestOf(request.body));
    return reply.code(existing ? 200 : 201).send(viewOf(record));
  });
}

function registerUnmount(app: App, parts: AgentParts): void {
  const summary = 'Unmount; the last mount of a volume also detaches it';
  const description =
    '`device-busy` names what holds it. `volume-in-use`: container engines need it, nothing was changed.';
  const response = { 204: noContent('Gone, the device too.') };
  const schema = { tags, summary, description, params: mountParams, querystring: unmountQuery, response };
  app.delete('/v1/mounts/:id', { schema }, async (request, reply) => {
    await parts.agent.unmount(request.params.id, request.query);
    return reply.code(204).send();
  });
}
