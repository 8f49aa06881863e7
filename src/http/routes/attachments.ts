import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import type { Attachment } from '../../domain/attachment.ts';
import { assert, Failure } from '../../domain/errors.ts';
import { operationParamsSchemas, parseOperation } from '../../operations/validate.ts';
import type { HostStateReport } from '../../store/store.ts';
import { requireOwnHost } from '../access.ts';
import { type App, principalOf, type RouteContext } from '../app.ts';
import { HostStateReports } from '../host-state-reports.ts';
import { answerOperation } from '../operation-answer.ts';
import { filterField, filterOneOf, listQuery, pageRequest, pathParameter } from '../paging.ts';
import { answer, noContent } from '../schema/answers.ts';
import {
  attachmentPageSchema,
  attachmentSchema,
  attachmentStates,
  type HostStateBody,
  hostStateBody,
} from '../schema/attachment.ts';
import { operationSchema } from '../schema/operation.ts';
import { compileParametersOnly } from '../validation.ts';

const params = pathParameter('id', 'Id of the attachment.', 'att_01JD0000000000000000000000');
const tags = ['attachments'];
const accepted = answer(operationSchema, 'Accepted and durable; still running.');

export function registerAttachments(app: App, context: RouteContext): void {
  registerList(app, context);
  registerCreate(app, context);
  app.get(
    '/v1/attachments/:id',
    { schema: { tags, summary: 'Show an attachment', params, response: { 200: answer(attachmentSchema) } } },
    async (request) => await ownAttachment(context, request, request.params.id),
  );
  registerDelete(app, context);
  registerHostState(app, context);
}

function registerList(app: App, context: RouteContext): void {
  const querystring = listQuery({
    state: filterOneOf(attachmentStates, 'Only attachments in this state.'),
    host: filterField('Only attachments of this host.', 'node1'),
    volume: filterField('Only attachments of the volume with this name or id.', 'data'),
  });
  const description = 'With a token of a host: those of that host.';
  app.get(
    '/v1/attachments',
    {
      schema: {
        tags,
        summary: 'List attachments',
        description,
        querystring,
        response: { 200: answer(attachmentPageSchema) },
      },
    },
    async (request) => {
      const { pageSize: _size, pageToken: _token, ...filter } = request.query;
      const host = filter.host ?? ownHostOf(request);
      if (host !== undefined) requireOwnHost(principalOf(request), host);
      const narrowed = host === undefined ? filter : { ...filter, host };
      return await context.controlPlane.store.attachmentList(narrowed, pageRequest(request.query));
    },
  );
}

function ownHostOf(request: FastifyRequest): string | undefined {
  const principal = principalOf(request);
  return principal.role === 'host' ? (principal.host ?? '') : undefined;
}

function registerCreate(app: App, context: RouteContext): void {
  const description = 'Shows a volume to a host; ends when the paths are there. A second writer is refused with 409.';
  const response = {
    200: answer(attachmentSchema, 'It was there already.'),
    201: answer(attachmentSchema, 'Exported.'),
    202: accepted,
  };
  const body = operationParamsSchemas['volume.attach'];
  app.post(
    '/v1/attachments',
    {
      config: { idempotency: 'journalled', prefer: true },
      validatorCompiler: compileParametersOnly,
      schema: { tags, summary: 'Attach a volume', description, body, response },
    },
    async (request, reply) => {
      const spec = parseOperation('volume.attach', request.body, '');
      if (spec.type === 'volume.attach') requireOwnHost(principalOf(request), spec.params.host);
      return await answerOperation(context, request, reply, spec);
    },
  );
}

function registerDelete(app: App, context: RouteContext): void {
  const description =
    'Ends when the host has said that the device is gone and the paths are removed; until then 202. `force` fences the host off where the exporter can.';
  const force = Type.Optional(Type.Boolean({ description: 'Fence the host off.', examples: [false] }));
  const goneEpoch = Type.Optional(
    Type.Integer({ minimum: 0, description: 'From the host itself: its device of this epoch is gone.', examples: [1] }),
  );
  const goneProof = Type.Optional(
    Type.String({ maxLength: 255, description: 'How that was proved.', examples: ['exclusive-open /dev/loop3'] }),
  );
  const querystring = Type.Object({ force, goneEpoch, goneProof }, { additionalProperties: false });
  const response = { 202: accepted, 204: noContent('Detached.') };
  app.delete(
    '/v1/attachments/:id',
    { schema: { tags, summary: 'Detach a volume', description, params, querystring, response } },
    async (request, reply) => {
      const attachment = request.params.id;
      if (principalOf(request).role === 'host') await ownAttachment(context, request, attachment);
      const { force = false, goneEpoch, goneProof } = request.query;
      const stated = { attachment, force, goneEpoch, goneProof };
      return await answerOperation(context, request, reply, parseOperation('volume.detach', stated, ''));
    },
  );
}

function registerHostState(app: App, context: RouteContext): void {
  const reports = new HostStateReports(
    () => context.controlPlane.store,
    () => context.controlPlane.wake(),
  );
  const description = 'What the host has done about the attachment. Under an older epoch it is refused.';
  app.put(
    '/v1/attachments/:id/host-state',
    {
      schema: {
        tags,
        summary: "Report the host's side",
        description,
        params,
        body: hostStateBody,
        response: { 200: answer(attachmentSchema) },
      },
    },
    async (request) => {
      const report = await reportOf(context, request, request.params.id, request.body);
      return await reports.report(report);
    },
  );
}

async function reportOf(
  context: RouteContext,
  request: FastifyRequest,
  attachment: string,
  body: HostStateBody,
): Promise<HostStateReport> {
  const stated = body.host ?? ownHostOf(request);
  const host = stated ?? (await ownAttachment(context, request, attachment)).host;
  requireOwnHost(principalOf(request), host);
  const { epoch, bootId } = body;
  return { attachment, epoch, host, bootId, side: body.state, proof: body.proof ?? null };
}

async function ownAttachment(context: RouteContext, request: FastifyRequest, id: string): Promise<Attachment> {
  const attachment = await context.controlPlane.store.attachmentGet(id);
  if (attachment === null) throw new Failure('attachment-not-found', `There is no attachment ${id}.`);
  assert(attachment.id === id, 'http-attachment-id');
  requireOwnHost(principalOf(request), attachment.host);
  return attachment;
}
