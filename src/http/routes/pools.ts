import { parseFormattedSize } from '../../domain/byte-count.ts';
import { Failure } from '../../domain/errors.ts';
import { parseName } from '../../domain/names.ts';
import type { NewPool, PoolChange } from '../../store/store.ts';
import type { App, RouteContext } from '../app.ts';
import { listQuery, pageRequest, pathParameter } from '../paging.ts';
import { etagOf, ifMatchVersion } from '../preconditions.ts';
import { answer, noContent } from '../schema/answers.ts';
import {
  type NewPoolBody,
  newPoolBody,
  type PoolChangeBody,
  poolChangeBody,
  poolPageSchema,
  poolSchema,
} from '../schema/pool.ts';

const params = pathParameter('name', 'Name of the pool.', 'fast');
const tags = ['pools'];

export function registerPools(app: App, context: RouteContext): void {
  app.get(
    '/v1/pools',
    { schema: { tags, summary: 'List pools', querystring: listQuery({}), response: { 200: answer(poolPageSchema) } } },
    async (request) => await context.controlPlane.store.poolList(pageRequest(request.query)),
  );
  registerCreate(app, context);
  app.get(
    '/v1/pools/:name',
    { schema: { tags, summary: 'Show a pool', params, response: { 200: answer(poolSchema) } } },
    async (request, reply) => {
      const pool = await existingPool(context, request.params.name);
      return reply.header('etag', etagOf(pool)).send(pool);
    },
  );
  registerUpdate(app, context);
  registerDelete(app, context);
}

function registerCreate(app: App, context: RouteContext): void {
  const description =
    'The pool fills itself. Creating it again answers the one that is there, if the stated fields are equal.';
  const response = { 200: answer(poolSchema, 'It was there already.'), 201: answer(poolSchema, 'Created.') };
  app.post(
    '/v1/pools',
    {
      config: { idempotency: 'remembered' },
      schema: { tags, summary: 'Create a pool', description, body: newPoolBody, response },
    },
    async (request, reply) => {
      const { store } = context.controlPlane;
      const wanted = parsePool(request.body, await store.poolGet(parseName(request.body.name)));
      const created = await store.poolCreate(wanted);
      if (!created.existing) context.controlPlane.nudge('pool-refill');
      return reply
        .code(created.existing ? 200 : 201)
        .header('etag', etagOf(created.resource))
        .send(created.resource);
    },
  );
}

/** Fields that were not stated are as they are on the pool that is there, so that only stated ones are compared. */
function parsePool(body: NewPoolBody, existing: Partial<NewPool> | null): NewPool {
  const storageNode = body.storageNode ?? existing?.storageNode;
  const filesystem = body.filesystem ?? existing?.filesystem ?? 'ext4';
  checkCounts(body.minFree, body.maxVolumes);
  return {
    name: parseName(body.name),
    backend: body.backend,
    ...(storageNode === undefined ? {} : { storageNode }),
    volumeSizeBytes: parseFormattedSize(body.volumeSizeBytes, 'volumeSizeBytes', filesystem),
    minFree: body.minFree,
    maxVolumes: body.maxVolumes,
    filesystem,
  };
}

function checkCounts(minFree: number, maxVolumes: number): void {
  if (minFree <= maxVolumes) return;
  const detail = `minFree: ${minFree} is above maxVolumes (${maxVolumes}); at most that many are accepted.`;
  throw new Failure('invalid-request', detail, { field: 'minFree' });
}

function registerUpdate(app: App, context: RouteContext): void {
  const description = 'Resizes or drains the pool. Under If-Match only if it still has that version.';
  app.patch(
    '/v1/pools/:name',
    {
      schema: {
        tags,
        summary: 'Change a pool',
        description,
        params,
        body: poolChangeBody,
        response: { 200: answer(poolSchema) },
      },
    },
    async (request, reply) => {
      const { store } = context.controlPlane;
      const change = await parseChange(context, request.params.name, request.body);
      const pool = await store.poolUpdate(request.params.name, change, ifMatchVersion(request.headers['if-match']));
      context.controlPlane.nudge('pool-refill', 'volume-destroy');
      return reply.header('etag', etagOf(pool)).send(pool);
    },
  );
}

/** A change of one bound is held against the other as it is; the store decides again under its own lock. */
async function parseChange(context: RouteContext, name: string, body: PoolChangeBody): Promise<PoolChange> {
  const pool = await existingPool(context, name);
  checkCounts(body.minFree ?? pool.minFree, body.maxVolumes ?? pool.maxVolumes);
  return {
    ...(typeof body.minFree === 'number' ? { minFree: body.minFree } : {}),
    ...(typeof body.maxVolumes === 'number' ? { maxVolumes: body.maxVolumes } : {}),
    ...(typeof body.draining === 'boolean' ? { draining: body.draining } : {}),
  };
}

function registerDelete(app: App, context: RouteContext): void {
  const description = 'Refused while one of its volumes is owned. The pool drains first: 202 until it is gone.';
  const response = { 202: answer(poolSchema, 'It is being drained and then removed.'), 204: noContent('Removed.') };
  app.delete(
    '/v1/pools/:name',
    { schema: { tags, summary: 'Delete a pool', description, params, response } },
    async (request, reply) => {
      const { store } = context.controlPlane;
      const { removed } = await store.poolDelete(request.params.name);
      context.controlPlane.nudge('volume-destroy');
      const left = removed ? null : await store.poolGet(request.params.name);
      return left === null ? reply.code(204).send() : reply.code(202).send(left);
    },
  );
}

async function existingPool(context: RouteContext, name: string) {
  const pool = await context.controlPlane.store.poolGet(name);
  if (pool === null) throw new Failure('pool-not-found', `There is no pool "${name}".`, { related: { pool: name } });
  return pool;
}
