import { Failure } from '../../domain/errors.ts';
import type { App, RouteContext } from '../app.ts';
import { listQuery, pageRequest, pathParameter } from '../paging.ts';
import { answer, noContent } from '../schema/answers.ts';
import { storageNodePageSchema, storageNodeSchema, type Target, targetPageSchema } from '../schema/host.ts';

const params = pathParameter('name', 'Name of the storage node.', 'local');
const tags = ['storage-nodes'];

export function registerStorageNodes(app: App, context: RouteContext): void {
  registerStorageNodeList(app, context);
  app.get(
    '/v1/storage-nodes/:name',
    { schema: { tags, summary: 'Show a storage node', params, response: { 200: answer(storageNodeSchema) } } },
    async (request) => {
      const { name } = request.params;
      const node = await context.controlPlane.store.storageNodeGet(name);
      if (node === null) throw new Failure('storage-node-not-found', `There is no storage node ${name}.`);
      return node;
    },
  );
  registerAdoption(app, context);
  registerTargets(app, context);
}

export function registerStorageNodeList(app: App, context: RouteContext): void {
  const querystring = listQuery({});
  app.get(
    '/v1/storage-nodes',
    { schema: { tags, summary: 'List storage nodes', querystring, response: { 200: answer(storageNodePageSchema) } } },
    async (request) => await context.controlPlane.store.storageNodeList(pageRequest(request.query)),
  );
}

/** A person's word after a restore: without it the reconcilers only report. */
export function registerAdoption(app: App, context: RouteContext): void {
  app.post(
    '/v1/storage-nodes/:name/adopt',
    {
      config: { idempotency: 'harmless' },
      schema: {
        tags,
        summary: 'Adopt the data of a storage node',
        description:
          'Binds data that another store made, or a newer state of this one, to this store. What this store does not know is removed by the reconcilers from then on.',
        params,
        response: { 204: noContent('Adopted.') },
      },
    },
    async (request, reply) => {
      await context.controlPlane.adopt(request.params.name);
      return reply.code(204).send();
    },
  );
}

/** One page is the ports of one page of nodes. */
function registerTargets(app: App, context: RouteContext): void {
  app.get(
    '/v1/targets',
    {
      schema: {
        tags,
        summary: 'List target ports',
        description: 'The target ports of all storage nodes; `pageSize` counts nodes.',
        querystring: listQuery({}),
        response: { 200: answer(targetPageSchema) },
      },
    },
    async (request) => {
      const page = await context.controlPlane.store.storageNodeList(pageRequest(request.query));
      const items = page.items.flatMap((node) =>
        node.targetPorts.map((port): Target => ({ ...port, storageNode: node.name })),
      );
      return { items, nextPageToken: page.nextPageToken };
    },
  );
}
