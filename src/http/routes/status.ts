import { limits } from '../../config/limits.ts';
import type { App, RouteContext } from '../app.ts';
import { answer } from '../schema/answers.ts';
import { healthSchema, readinessSchema } from '../schema/status.ts';

const tags = ['service'];

export function registerStatus(app: App, context: RouteContext): void {
  app.get(
    '/healthz',
    { schema: { tags, summary: 'Whether the process answers', response: { 200: answer(healthSchema) } } },
    async () => ({ status: 'ok' }) as const,
  );
  registerReadiness(app, context);
}

export function registerMetrics(app: App, context: RouteContext): void {
  app.get(
    '/metrics',
    {
      schema: {
        tags,
        summary: 'Metrics in Prometheus text format',
        response: { 200: { description: 'Metrics.', content: { 'text/plain': { schema: { type: 'string' } } } } },
      },
    },
    async (_request, reply) => {
      const { registry } = context.metrics;
      return reply.header('content-type', registry.contentType).send(await registry.metrics());
    },
  );
}

function registerReadiness(app: App, context: RouteContext): void {
  const response = {
    200: answer(readinessSchema, 'Requests are served; `degraded` says where something is wrong all the same.'),
    503: answer(readinessSchema, 'Requests cannot be served, or would not be carried out.'),
  };
  app.get(
    '/readyz',
    { schema: { tags, summary: 'Whether requests can be served', response } },
    async (_request, reply) => {
      const conditions = await context.controlPlane.readiness();
      const { unready, degraded } = conditions;
      if (unready.length === 0)
        return reply.send({ status: degraded.length === 0 ? 'ready' : 'degraded', ...conditions });
      return reply
        .code(503)
        .header('retry-after', limits.retryAfterSeconds)
        .send({ status: 'not-ready', ...conditions });
    },
  );
}
