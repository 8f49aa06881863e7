import { Type } from 'typebox';
import { Failure } from '../../domain/errors.ts';
import { parseBatch } from '../../operations/validate.ts';
import type { App, RouteContext } from '../app.ts';
import { batchView, submit } from '../operation-answer.ts';
import { pathParameter } from '../paging.ts';
import { answer } from '../schema/answers.ts';
import { batchAnswerSchema, batchBody } from '../schema/operation.ts';
import { compileParametersOnly } from '../validation.ts';

const params = pathParameter('id', 'Id of the batch.', 'bat_01JD0000000000000000000000');
const tags = ['operations'];

export function registerOperationBatches(app: App, context: RouteContext): void {
  registerCreate(app, context);
  app.get(
    '/v1/operation-batches/:id',
    { schema: { tags, summary: 'Show a batch', params, response: { 200: answer(batchAnswerSchema) } } },
    async (request, reply) => {
      const { id } = request.params;
      const batch = await context.controlPlane.store.batchGet(id);
      if (batch === null) throw new Failure('batch-not-found', `There is no operation batch ${id}.`);
      return await reply.serializer(JSON.stringify).type('application/json').send(batchView(batch));
    },
  );
}

/** Serialised as it is built: views hold named fields only, and one native pass is faster than a checked one. */
function registerCreate(app: App, context: RouteContext): void {
  const response = {
    200: answer(batchAnswerSchema, 'Ended; each operation tells its own outcome.'),
    202: answer(batchAnswerSchema, 'Accepted and durable; still running.'),
  };
  app.post(
    '/v1/operation-batches',
    {
      config: { idempotency: 'journalled', prefer: true },
      validatorCompiler: compileParametersOnly,
      schema: {
        tags,
        summary: 'Carry out up to 1,000 operations',
        description: 'Answered in the order of the request. Operations on one resource are carried out in that order.',
        body: Type.Unsafe<unknown>(batchBody),
        response,
      },
    },
    async (request, reply) => {
      const wanted = parseBatch(request.body);
      const batch = await submit(context, request, reply, wanted);
      if (batch.state !== 'ended') reply.code(202).header('location', `/v1/operation-batches/${batch.id}`);
      return await reply.serializer(JSON.stringify).type('application/json').send(batchView(batch));
    },
  );
}
