import { Failure } from '../../domain/errors.ts';
import type { Principal } from '../../domain/principal.ts';
import { outwardReason, type Volume } from '../../domain/volume.ts';
import { operationParamsSchemas, parseOperation } from '../../operations/validate.ts';
import { operators, requireOwnHost } from '../access.ts';
import { type App, principalOf, type RouteContext } from '../app.ts';
import { answerOperation } from '../operation-answer.ts';
import { filterField, filterOneOf, listQuery, pageRequest, pathParameter } from '../paging.ts';
import { answer, noContent } from '../schema/answers.ts';
import { operationSchema } from '../schema/operation.ts';
import { volumePageSchema, volumeSchema, volumeStates } from '../schema/volume.ts';
import { compileParametersOnly } from '../validation.ts';

const params = pathParameter('name', 'Name or id of the volume.', 'data');
const tags = ['volumes'];
const accepted = answer(operationSchema, 'Accepted and durable; still running.');

export function registerVolumes(app: App, context: RouteContext): void {
  registerList(app, context);
  registerCreate(app, context);
  app.get(
    '/v1/volumes/:name',
    { schema: { tags, summary: 'Show a volume', params, response: { 200: answer(volumeSchema) } } },
    async (request) => shownTo(principalOf(request), await existingVolume(context, request.params.name)),
  );
  registerDelete(app, context);
  registerClear(app, context);
}

function registerList(app: App, context: RouteContext): void {
  const querystring = listQuery({
    state: filterOneOf(volumeStates, 'Only volumes in this state.'),
    pool: filterField('Only volumes of this pool.', 'fast'),
    host: filterField('Only volumes attached to this host.', 'node1'),
    label: filterField('Only volumes with this label: `key` or `key=value`.', 'app=db'),
  });
  const description = 'With a token of a host: attachments to other hosts are left out.';
  app.get(
    '/v1/volumes',
    {
      schema: { tags, summary: 'List volumes', description, querystring, response: { 200: answer(volumePageSchema) } },
    },
    async (request) => {
      const { pageSize: _size, pageToken: _token, ...filter } = request.query;
      const principal = principalOf(request);
      if (filter.host !== undefined) requireOwnHost(principal, filter.host);
      const page = await context.controlPlane.store.volumeList(filter, pageRequest(request.query));
      return { ...page, items: page.items.map((volume) => shownTo(principal, volume)) };
    },
  );
}

function registerCreate(app: App, context: RouteContext): void {
  const description =
    'Takes a volume from a pool, or provisions one. Creating it again answers the one that is there, if the stated fields are equal.';
  const response = {
    200: answer(volumeSchema, 'It was there already.'),
    201: answer(volumeSchema, 'Created.'),
    202: accepted,
  };
  app.post(
    '/v1/volumes',
    {
      config: { idempotency: 'journalled', prefer: true },
      validatorCompiler: compileParametersOnly,
      schema: {
        tags,
        summary: 'Create a volume',
        description,
        body: operationParamsSchemas['volume.create'],
        response,
      },
    },
    async (request, reply) =>
      await answerOperation(context, request, reply, parseOperation('volume.create', request.body, '')),
  );
}

function registerDelete(app: App, context: RouteContext): void {
  const description = 'Its name is free at once; its bytes are wiped before anybody else gets them.';
  app.delete(
    '/v1/volumes/:name',
    {
      schema: {
        tags,
        summary: 'Delete a volume',
        description,
        params,
        response: { 202: accepted, 204: noContent('Deleted.') },
      },
    },
    async (request, reply) => {
      const spec = { type: 'volume.delete', params: { volume: request.params.name } } as const;
      return await answerOperation(context, request, reply, spec);
    },
  );
}

function registerClear(app: App, context: RouteContext): void {
  const description = 'Ends the quarantine of a failed volume: it is wiped and returned to its pool.';
  app.post(
    '/v1/volumes/:name/clear',
    {
      config: { idempotency: 'remembered' },
      schema: {
        tags,
        summary: 'Clear a quarantined volume',
        description,
        params,
        response: { 200: answer(volumeSchema) },
      },
    },
    async (request) => {
      const volume = await context.controlPlane.store.volumeClear(request.params.name);
      context.controlPlane.nudge('volume-wipe', 'volume-destroy');
      return volume;
    },
  );
}

/** A host sees every volume, since it may have to mount it, and of the attachments its own. */
function shownTo({ role, host: own }: Principal, volume: Volume): Volume {
  if (operators.includes(role)) return volume;
  const failureReason = volume.failureReason === null ? null : outwardReason(volume.failureReason);
  const attachments = role === 'host' ? volume.attachments.filter(({ host }) => host === own) : volume.attachments;
  return { ...volume, failureReason, attachments };
}

async function existingVolume(context: RouteContext, name: string) {
  const volume = await context.controlPlane.store.volumeGet(name);
  if (volume === null)
    throw new Failure('volume-not-found', `There is no volume ${name}.`, { related: { volume: name } });
  return volume;
}
