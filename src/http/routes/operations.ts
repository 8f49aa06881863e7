import type { FastifyRequest } from 'fastify';
import { Failure } from '../../domain/errors.ts';
import { type Operation, operationTypes } from '../../domain/operation.ts';
import { type App, principalOf, type RouteContext } from '../app.ts';
import { operationView } from '../operation-answer.ts';
import { filterOneOf, listQuery, pageRequest, pathParameter } from '../paging.ts';
import { answer } from '../schema/answers.ts';
import { operationPageSchema, operationSchema, operationStates } from '../schema/operation.ts';

const params = pathParameter('id', 'Id of the operation.', 'bat_01JD0000000000000000000000-0');
const tags = ['operations'];
const description = 'Newest first, those that have not ended among them.';

export function registerOperations(app: App, context: RouteContext): void {
  const querystring = listQuery({
    state: filterOneOf(operationStates, 'Only operations in this state.'),
    type: filterOneOf(operationTypes, 'Only operations of this type.'),
  });
  app.get(
    '/v1/operations',
    {
      schema: {
        tags,
        summary: 'List operations',
        description,
        querystring,
        response: { 200: answer(operationPageSchema) },
      },
    },
    async (request) => {
      const { pageSize: _size, pageToken: _token, ...filter } = request.query;
      const page = await context.controlPlane.store.operationList(filter, pageRequest(request.query));
      return { items: page.items.map(operationView), nextPageToken: page.nextPageToken };
    },
  );
  app.get(
    '/v1/operations/:id',
    { schema: { tags, summary: 'Show an operation', params, response: { 200: answer(operationSchema) } } },
    async (request) => {
      const { id } = request.params;
      const operation = await context.controlPlane.store.operationGet(id);
      if (operation === null) throw new Failure('operation-not-found', `There is no operation ${id}.`);
      requireOwnOperation(request, operation);
      return operationView(operation);
    },
  );
}

/** A host follows what it asked for itself, and nothing else. */
function requireOwnOperation(request: FastifyRequest, operation: Operation): void {
  const principal = principalOf(request);
  if (principal.role !== 'host' || operation.requestedBy === principal.id) return;
  throw new Failure('forbidden', 'This token sees the operations that it asked for only.');
}
