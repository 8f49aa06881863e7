import { Failure } from '../../domain/errors.ts';
import type { Port } from '../../domain/host.ts';
import { parseName } from '../../domain/names.ts';
import { parseWwpn } from '../../domain/wwpn.ts';
import { requireOwnHost } from '../access.ts';
import { type App, principalOf, type RouteContext } from '../app.ts';
import { listQuery, pageRequest, pathParameter } from '../paging.ts';
import { answer, noContent } from '../schema/answers.ts';
import {
  hostBody,
  hostPageSchema,
  hostSchema,
  inventoryAnswerSchema,
  inventoryBegunSchema,
  inventoryBody,
} from '../schema/host.ts';

const params = pathParameter('name', 'Name of the host.', 'node1');
const tags = ['hosts'];

export function registerHosts(app: App, context: RouteContext): void {
  app.get(
    '/v1/hosts',
    { schema: { tags, summary: 'List hosts', querystring: listQuery({}), response: { 200: answer(hostPageSchema) } } },
    async (request) => await context.controlPlane.store.hostList(pageRequest(request.query)),
  );
  app.get(
    '/v1/hosts/:name',
    { schema: { tags, summary: 'Show a host', params, response: { 200: answer(hostSchema) } } },
    async (request) => {
      const { name } = request.params;
      requireOwnHost(principalOf(request), name);
      const host = await context.controlPlane.store.hostGet(name);
      if (host === null) throw new Failure('host-not-found', `There is no host ${name}.`, { related: { host: name } });
      return host;
    },
  );
  registerRegistration(app, context);
  registerInventories(app, context);
}

function registerRegistration(app: App, context: RouteContext): void {
  const description = 'By the agent, at its start and as a sign of life. A host is bound to its machine-id.';
  app.put(
    '/v1/hosts/:name',
    {
      schema: {
        tags,
        summary: 'Register a host',
        description,
        params,
        body: hostBody,
        response: { 200: answer(hostSchema) },
      },
    },
    async (request) => {
      const name = parseName(request.params.name);
      const principal = principalOf(request);
      requireOwnHost(principal, name);
      const initiatorPorts = parsePorts(request.body.initiatorPorts, 'initiatorPorts');
      return await context.controlPlane.store.hostRegister({ ...request.body, name, initiatorPorts }, principal);
    },
  );
  app.delete(
    '/v1/hosts/:name',
    {
      schema: {
        tags,
        summary: 'Remove a host',
        description: 'Refused while it has attachments.',
        params,
        response: { 204: noContent('Removed.') },
      },
    },
    async (request, reply) => {
      await context.controlPlane.store.hostDelete(request.params.name);
      return reply.code(204).send();
    },
  );
}

function registerInventories(app: App, context: RouteContext): void {
  app.post(
    '/v1/hosts/:name/inventories/begin',
    {
      config: { idempotency: 'harmless' },
      schema: {
        tags,
        summary: 'Begin an inventory',
        description: 'Before the host is scanned. What changes from here on is left alone by the report.',
        params,
        response: { 200: answer(inventoryBegunSchema) },
      },
    },
    async (request) => {
      requireOwnHost(principalOf(request), request.params.name);
      return await context.controlPlane.store.inventoryBegin(request.params.name);
    },
  );
  app.post(
    '/v1/hosts/:name/inventories',
    {
      config: { idempotency: 'harmless' },
      schema: {
        tags,
        summary: 'Report an inventory',
        description: 'What the host found; answers what it should have and should not have.',
        params,
        body: inventoryBody,
        response: { 200: answer(inventoryAnswerSchema) },
      },
    },
    async (request) => {
      requireOwnHost(principalOf(request), request.params.name);
      const answer = await context.controlPlane.store.inventoryReport({ ...request.body, host: request.params.name });
      // What the host no longer has may be what a detach waits for.
      context.controlPlane.wake();
      return answer;
    },
  );
}

/** Port names in normal form, each once. */
function parsePorts(ports: readonly Port[], field: string): Port[] {
  const parsed = ports.map((port, index) => ({ ...port, wwpn: parseWwpn(port.wwpn, `${field}[${index}].wwpn`) }));
  const repeated = parsed.findIndex((port, index) => parsed.findIndex((other) => other.wwpn === port.wwpn) !== index);
  if (repeated === -1) return parsed;
  const at = `${field}[${repeated}].wwpn`;
  throw new Failure('invalid-wwpn', `${at}: ${parsed[repeated]?.wwpn} is stated twice.`, { field: at });
}
