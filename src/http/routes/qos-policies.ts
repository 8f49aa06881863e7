import { Failure } from '../../domain/errors.ts';
import { parseName } from '../../domain/names.ts';
import { parseQosLimits, type QosLimitsStated } from '../../domain/qos.ts';
import type { QosLimits, QosPolicy } from '../../domain/qos-policy.ts';
import type { App, RouteContext } from '../app.ts';
import { listQuery, pageRequest, pathParameter } from '../paging.ts';
import { etagOf, ifMatchVersion, requiredVersion } from '../preconditions.ts';
import { answer, noContent } from '../schema/answers.ts';
import { newQosPolicyBody, qosLimitsBody, qosPolicyPageSchema, qosPolicySchema } from '../schema/qos-policy.ts';

const params = pathParameter('name', 'Name of the QoS policy.', 'gold');
const tags = ['qos-policies'];

export function registerQosPolicies(app: App, context: RouteContext): void {
  const querystring = listQuery({});
  app.get(
    '/v1/qos-policies',
    { schema: { tags, summary: 'List QoS policies', querystring, response: { 200: answer(qosPolicyPageSchema) } } },
    async (request) => await context.controlPlane.store.qosPolicyList(pageRequest(request.query)),
  );
  registerCreate(app, context);
  app.get(
    '/v1/qos-policies/:name',
    { schema: { tags, summary: 'Show a QoS policy', params, response: { 200: answer(qosPolicySchema) } } },
    async (request, reply) => {
      const policy = await existingPolicy(context, request.params.name);
      return reply.header('etag', etagOf(policy)).send(policy);
    },
  );
  registerUpdate(app, context);
  registerDelete(app, context);
}

function registerCreate(app: App, context: RouteContext): void {
  const description = 'Creating it again answers the one that is there, if the stated fields are equal.';
  const response = { 200: answer(qosPolicySchema, 'It was there already.'), 201: answer(qosPolicySchema, 'Created.') };
  app.post(
    '/v1/qos-policies',
    {
      config: { idempotency: 'remembered' },
      schema: { tags, summary: 'Create a QoS policy', description, body: newQosPolicyBody, response },
    },
    async (request, reply) => {
      const { store } = context.controlPlane;
      const { name: stated, ...qos } = request.body;
      const name = parseName(stated);
      const wanted = { name, ...parseLimits(qos, await store.qosPolicyGet(name)) };
      const created = await store.qosPolicyCreate(wanted);
      return reply
        .code(created.existing ? 200 : 201)
        .header('etag', etagOf(created.resource))
        .send(created.resource);
    },
  );
}

/** Fields that were not stated are as they are on the policy that is there, so that only stated ones are compared. */
function parseLimits(stated: QosLimitsStated, existing: QosPolicy | null): QosLimits {
  const fresh = parseQosLimits(stated);
  if (existing === null) return fresh;
  const { id: _id, name: _name, enforced: _enforced, version: _version, createdAt: _at, ...there } = existing;
  const named = Object.entries(stated).filter(([, value]) => value !== null && value !== undefined);
  const kept = Object.entries(fresh).filter(([key]) => named.some(([name]) => name === key));
  return { ...there, ...Object.fromEntries(kept) };
}

function registerUpdate(app: App, context: RouteContext): void {
  app.put(
    '/v1/qos-policies/:name',
    {
      schema: {
        tags,
        summary: 'Replace the limits of a QoS policy',
        description: 'Needs If-Match. Limits that are not stated fall back to their defaults.',
        params,
        body: qosLimitsBody,
        response: { 200: answer(qosPolicySchema) },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const qos = parseQosLimits(request.body);
      const current = async () => await existingPolicy(context, name);
      const version = await requiredVersion(request.headers['if-match'], current);
      const policy = await context.controlPlane.store.qosPolicyUpdate(name, qos, version);
      return reply.header('etag', etagOf(policy)).send(policy);
    },
  );
}

function registerDelete(app: App, context: RouteContext): void {
  app.delete(
    '/v1/qos-policies/:name',
    {
      schema: {
        tags,
        summary: 'Delete a QoS policy',
        description:
          'Refused while a volume or flow policy names it. Under If-Match only if it still has that version.',
        params,
        response: { 204: noContent('Deleted.') },
      },
    },
    async (request, reply) => {
      await context.controlPlane.store.qosPolicyDelete(
        request.params.name,
        ifMatchVersion(request.headers['if-match']),
      );
      return reply.code(204).send();
    },
  );
}

async function existingPolicy(context: RouteContext, name: string): Promise<QosPolicy> {
  const policy = await context.controlPlane.store.qosPolicyGet(name);
  if (policy === null) throw new Failure('qos-policy-not-found', `There is no QoS policy ${name}.`);
  return policy;
}
