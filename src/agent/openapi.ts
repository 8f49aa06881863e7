/** The OpenAPI document of the local API, made of its routes' own schemas; the one that is checked in is proved to be this. */
import type { RouteOptions } from 'fastify';
import type { App } from '../http/app.ts';
import { operationIdOf, problemAnswer, serveDocument } from '../http/document.ts';
import { problemSchema } from '../http/schema/problem.ts';
import { healthSchema } from '../http/schema/status.ts';
import { agentReadinessSchema, agentStatusSchema, mountListSchema, mountSchema } from './answer-schemas.ts';

const description = `The agent of one machine, on its unix socket (\`agent.sock\`): what is local to a host. Whoever may open the
socket may use all of it; there are no tokens. \`/healthz\`, \`/readyz\` and \`/metrics\` are also on the port of
\`agent.metricsListen\`, where that is set.

Errors are problems (RFC 9457) with a stable \`code\`. Every request can be repeated: the same mount again answers the one that
is there. Null and absent mean the same in requests; unknown fields are refused.`;

export const agentSchemas = [
  ...[problemSchema, healthSchema, mountSchema, mountListSchema, agentStatusSchema, agentReadinessSchema],
];

export function registerAgentOpenApi(app: App): void {
  serveDocument(app, { title: 'FC-Redirect agent', description, schemas: agentSchemas, describeRoute });
}

function describeRoute(route: RouteOptions): void {
  if (route.schema === undefined || route.url.startsWith('/docs')) return;
  route.schema = {
    ...route.schema,
    operationId: operationIdOf(String(route.method), route.url),
    response: { ...Object(route.schema.response), default: problemAnswer },
  };
}
