/**
 * An OpenAPI document of an application's routes, and the page that shows it: `/openapi.json`, `/docs`. Routes must be
 * registered after it, in a scope of their own, because it collects them.
 */
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { RouteOptions } from 'fastify';
import type { App } from './app.ts';
import type { NamedSchema } from './schema/output.ts';
import { problemSchema } from './schema/problem.ts';

export interface DocumentOptions {
  readonly title: string;
  readonly description: string;
  /** All that routes refer to. */
  readonly schemas: readonly NamedSchema<unknown>[];
  /** Adds what every route has. */
  readonly describeRoute: (route: RouteOptions) => void;
  /** How callers show who they are. */
  readonly schemes?: Readonly<Record<string, { type: 'http'; scheme: string; description: string }>>;
}

const license = { name: 'Apache-2.0', identifier: 'Apache-2.0' };

export function serveDocument(
  app: App,
  { title, description, schemas, describeRoute, schemes }: DocumentOptions,
): void {
  for (const schema of schemas) app.addSchema(schema);
  app.addHook('onRoute', describeRoute);
  app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title, description, version: '1.0.0', license },
      ...(schemes === undefined ? {} : { components: { securitySchemes: schemes } }),
    },
    refResolver: { buildLocalReference: (json, _base, _fragment, index) => String(json.$id ?? `schema-${index}`) },
  });
  // Otherwise the page shows the document's address to a validator on the internet.
  const uiConfig = { validatorUrl: null };
  app.register(swaggerUi, { routePrefix: '/docs', uiConfig, staticCSP: true, transformStaticCSP: ownAssets });
}

export function serveDocumentText(app: App): void {
  app.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) => {
    return reply.type('application/json').serializer(JSON.stringify).send(app.swagger());
  });
}

/** Over plain HTTP a browser would ask for the page's own scripts by HTTPS, on any host but loopback. */
function ownAssets(policy: string): string {
  return policy.replace(/\s*upgrade-insecure-requests;?/, '').replace(' validator.swagger.io', '');
}

export const problemAnswer = {
  description: 'A problem; `code` says which.',
  content: { 'application/problem+json': { schema: { $ref: `${problemSchema.$id}#` } } },
};

/** `GET /v1/pools/:name` -> `getV1PoolsByName` without the version: `getPoolsByName`. */
export function operationIdOf(method: string, url: string): string {
  const words = url.replace('/v1/', '/').replaceAll(':', 'by-').split(/[/-]/).filter(Boolean);
  return method.toLowerCase() + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
}
