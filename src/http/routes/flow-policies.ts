import { Type } from 'typebox';
import { Failure } from '../../domain/errors.ts';
import type { FlowPolicy } from '../../domain/flow-policy.ts';
import { parseWwpn } from '../../domain/wwpn.ts';
import * as field from '../../operations/field-schemas.ts';
import { checkRedirect, operationParamsSchemas, parseOperation } from '../../operations/validate.ts';
import type { FlowPolicyChange } from '../../store/store.ts';
import type { App, RouteContext } from '../app.ts';
import { answerOperation } from '../operation-answer.ts';
import { filterField, listQuery, pageRequest, pathParameter } from '../paging.ts';
import { etagOf, ifMatchVersion, requiredVersion } from '../preconditions.ts';
import { answer, noContent } from '../schema/answers.ts';
import {
  type FlowPolicyChangeBody,
  flowDecisionSchema,
  flowPolicyChangeBody,
  flowPolicyPageSchema,
  flowPolicySchema,
} from '../schema/flow-policy.ts';
import { operationSchema } from '../schema/operation.ts';
import { compileParametersOnly } from '../validation.ts';

const params = pathParameter('id', 'Id of the flow policy.', 'flow_01JD0000000000000000000000');
const tags = ['flow-policies'];
const accepted = answer(operationSchema, 'Accepted and durable; still running.');

export function registerFlowPolicies(app: App, context: RouteContext): void {
  registerList(app, context);
  registerCreate(app, context);
  app.get(
    '/v1/flow-policies/:id',
    { schema: { tags, summary: 'Show a flow policy', params, response: { 200: answer(flowPolicySchema) } } },
    async (request, reply) => {
      const policy = await existingPolicy(context, request.params.id);
      return reply.header('etag', etagOf(policy)).send(policy);
    },
  );
  registerUpdate(app, context);
  registerDelete(app, context);
  registerResolve(app, context);
}

function registerList(app: App, context: RouteContext): void {
  const querystring = listQuery({
    namespace: filterField('Only policies for this container.', 'c0ffee12'),
    initiatorWwpn: filterField('Only policies for this initiator port.', '20:00:02:00:00:00:00:a0'),
    targetWwpn: filterField('Only policies for this target port.', '50:00:02:00:00:00:00:b0'),
  });
  app.get(
    '/v1/flow-policies',
    { schema: { tags, summary: 'List flow policies', querystring, response: { 200: answer(flowPolicyPageSchema) } } },
    async (request) => {
      const { namespace, initiatorWwpn, targetWwpn } = request.query;
      const filter = {
        ...(namespace === undefined ? {} : { namespace }),
        ...(initiatorWwpn === undefined ? {} : { initiatorWwpn: parseWwpn(initiatorWwpn, 'initiatorWwpn') }),
        ...(targetWwpn === undefined ? {} : { targetWwpn: parseWwpn(targetWwpn, 'targetWwpn') }),
      };
      return await context.controlPlane.store.flowPolicyList(filter, pageRequest(request.query));
    },
  );
}

function registerCreate(app: App, context: RouteContext): void {
  const description =
    'Unique by initiator, target and namespace; again with equal fields answers the one that is there.';
  const response = {
    200: answer(flowPolicySchema, 'It was there already.'),
    201: answer(flowPolicySchema, 'Created.'),
    202: accepted,
  };
  const body = operationParamsSchemas['flow-policy.create'];
  app.post(
    '/v1/flow-policies',
    {
      config: { idempotency: 'journalled', prefer: true },
      validatorCompiler: compileParametersOnly,
      schema: { tags, summary: 'Create a flow policy', description, body, response },
    },
    async (request, reply) =>
      await answerOperation(context, request, reply, parseOperation('flow-policy.create', request.body, '')),
  );
}

function registerUpdate(app: App, context: RouteContext): void {
  app.patch(
    '/v1/flow-policies/:id',
    {
      schema: {
        tags,
        summary: 'Change a flow policy',
        description: 'Needs If-Match. It decides attachments that are made from now on.',
        params,
        body: flowPolicyChangeBody,
        response: { 200: answer(flowPolicySchema) },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const current = async () => await existingPolicy(context, id);
      const version = await requiredVersion(request.headers['if-match'], current);
      const change = parseChange(request.body, await current());
      const policy = await context.controlPlane.store.flowPolicyUpdate(id, change, version);
      return reply.header('etag', etagOf(policy)).send(policy);
    },
  );
}

/** Held against the policy as it is; the version that was stated keeps another change from coming between. */
function parseChange(body: FlowPolicyChangeBody, policy: FlowPolicy): FlowPolicyChange {
  const action = body.action ?? policy.action;
  const unneeded = action !== 'redirect' && body.redirectTo === undefined;
  const stated = typeof body.redirectTo === 'string' ? parseWwpn(body.redirectTo, 'redirectTo') : body.redirectTo;
  const redirectTo = unneeded ? null : stated === undefined ? policy.redirectTo : stated;
  checkRedirect(action, redirectTo);
  return { action, redirectTo, ...(body.qosPolicy === undefined ? {} : { qosPolicy: body.qosPolicy }) };
}

function registerDelete(app: App, context: RouteContext): void {
  const response = { 202: accepted, 204: noContent('Deleted.') };
  app.delete(
    '/v1/flow-policies/:id',
    {
      schema: {
        tags,
        summary: 'Delete a flow policy',
        description: 'Under If-Match only if it still has that version.',
        params,
        response,
      },
    },
    async (request, reply) => {
      const stated = { flowPolicy: request.params.id, ifVersion: ifMatchVersion(request.headers['if-match']) };
      return await answerOperation(context, request, reply, parseOperation('flow-policy.delete', stated, ''));
    },
  );
}

function registerResolve(app: App, context: RouteContext): void {
  const querystring = Type.Object(
    {
      initiatorWwpn: field.wwpn({ description: 'Initiator port.' }),
      targetWwpn: field.wwpn({ description: 'Target port.', examples: ['50:00:02:00:00:00:00:b0'] }),
      namespace: field.maybeNamespace({ description: 'Container.', examples: ['c0ffee12'] }),
    },
    { additionalProperties: false },
  );
  app.get(
    '/v1/flows/resolve',
    {
      schema: {
        tags,
        summary: 'Explain how a flow is decided',
        querystring,
        response: { 200: answer(flowDecisionSchema) },
      },
    },
    async (request) => {
      const initiatorWwpn = parseWwpn(request.query.initiatorWwpn, 'initiatorWwpn');
      const targetWwpn = parseWwpn(request.query.targetWwpn, 'targetWwpn');
      const namespace = request.query.namespace ?? null;
      return await context.controlPlane.store.flowResolve({ initiatorWwpn, targetWwpn, namespace });
    },
  );
}

async function existingPolicy(context: RouteContext, id: string): Promise<FlowPolicy> {
  const policy = await context.controlPlane.store.flowPolicyGet(id);
  if (policy === null) throw new Failure('flow-policy-not-found', `There is no flow policy ${id}.`);
  return policy;
}
