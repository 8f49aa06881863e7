/**
 * The OpenAPI document, made of the routes' own schemas.
 *
 * The document that is checked in is what this makes; a test proves it. Routes must be registered after this.
 */
import type { RouteOptions } from 'fastify';
import { accessOf } from './access.ts';
import type { App } from './app.ts';
import { operationIdOf, problemAnswer, serveDocument } from './document.ts';
import { attachmentPageSchema, attachmentSchema } from './schema/attachment.ts';
import { flowDecisionSchema, flowPolicyPageSchema, flowPolicySchema } from './schema/flow-policy.ts';
import {
  hostPageSchema,
  hostSchema,
  inventoryAnswerSchema,
  inventoryBegunSchema,
  storageNodePageSchema,
  storageNodeSchema,
  targetPageSchema,
  targetSchema,
} from './schema/host.ts';
import { batchAnswerSchema, operationPageSchema, operationSchema } from './schema/operation.ts';
import { poolPageSchema, poolSchema } from './schema/pool.ts';
import { problemSchema } from './schema/problem.ts';
import { qosPolicyPageSchema, qosPolicySchema } from './schema/qos-policy.ts';
import { healthSchema, readinessSchema } from './schema/status.ts';
import { createdTokenSchema, tokenPageSchema, tokenSchema } from './schema/token.ts';
import { volumePageSchema, volumeSchema } from './schema/volume.ts';

const namedSchemas = [
  problemSchema,
  ...[poolSchema, poolPageSchema, volumeSchema, volumePageSchema, attachmentSchema, attachmentPageSchema],
  ...[hostSchema, hostPageSchema, inventoryAnswerSchema, inventoryBegunSchema],
  ...[storageNodeSchema, storageNodePageSchema, targetSchema, targetPageSchema],
  ...[flowPolicySchema, flowPolicyPageSchema, flowDecisionSchema, qosPolicySchema, qosPolicyPageSchema],
  ...[operationSchema, operationPageSchema, batchAnswerSchema],
  ...[tokenSchema, tokenPageSchema, createdTokenSchema, healthSchema, readinessSchema],
];

const description = `Control plane for Fibre Channel storage redirection, made for containers.

Errors are problems (RFC 9457) with a stable \`code\`. Every POST takes an \`Idempotency-Key\`: the same key and body is
answered as the first time, another body is refused with 422; where a POST makes no new thing, repeating it is harmless
and the key is ignored. Routes that carry out operations wait for them; \`Prefer: respond-async\` or \`Prefer: wait=N\`
(seconds) bounds the wait, and what is still running then is answered 202 with the URL of the operation. Sizes are bytes,
or text with a unit (\`10GiB\`). Null and absent mean the same in requests; unknown fields are refused.`;

export function registerOpenApi(app: App): void {
  const bearer = { type: 'http', scheme: 'bearer', description: 'A token, `fcr_...`.' } as const;
  serveDocument(app, { title: 'FC-Redirect', description, schemas: namedSchemas, describeRoute, schemes: { bearer } });
}

const headerFields = {
  'idempotency-key': { type: 'string', maxLength: 255, description: 'Makes a repeat of the request harmless.' },
  prefer: { type: 'string', description: '`respond-async`, or `wait=N` seconds.', examples: ['wait=5'] },
};

/** What every route has: who may use it, its problems, a name for generated clients. Throws for a route without access. */
function describeRoute(route: RouteOptions): void {
  const method = String(route.method);
  const allowed = accessOf(method, route.url);
  if (route.schema === undefined || route.url.startsWith('/docs')) return;
  const roles = allowed === 'anyone' ? 'Open to anyone.' : `Roles: ${allowed.join(', ')}.`;
  route.schema = {
    ...route.schema,
    description: [route.schema.description, roles].filter(Boolean).join('\n\n'),
    operationId: operationIdOf(method, route.url),
    security: allowed === 'anyone' ? [] : [{ bearer: [] }],
    response: { ...Object(route.schema.response), default: problemAnswer },
    ...headersOf(route),
  };
}

function headersOf(route: RouteOptions): object {
  const names = [
    ...(route.config?.idempotency === undefined ? [] : ['idempotency-key' as const]),
    ...(route.config?.prefer === true ? ['prefer' as const] : []),
  ];
  if (names.length === 0) return {};
  const properties = Object.fromEntries(names.map((name) => [name, headerFields[name]]));
  return { headers: { type: 'object', properties } };
}
