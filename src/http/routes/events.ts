import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { limits } from '../../config/limits.ts';
import { Failure } from '../../domain/errors.ts';
import type { Event } from '../../domain/event.ts';
import type { App, RouteContext } from '../app.ts';

const cursorPattern = /^\d{1,15}\.\d{1,9}$/;
const description =
  'Server-sent events, one for each change of state, in order and without gaps. A stream resumes after the cursor in `Last-Event-ID` or `after`; without one it starts now. `after=start`: from the oldest event kept.';

export function registerEvents(app: App, context: RouteContext): void {
  const after = Type.Optional(
    Type.String({ maxLength: 32, description: 'Cursor to resume after, or `start`.', examples: ['17.0'] }),
  );
  const stream = { description: 'The stream.', content: { 'text/event-stream': { schema: { type: 'string' } } } };
  app.get(
    '/v1/events',
    {
      schema: {
        tags: ['events'],
        summary: 'Follow changes of state',
        description,
        querystring: Type.Object({ after }, { additionalProperties: false }),
        response: { 200: stream },
      },
    },
    async (request, reply) => {
      const start = await startOf(context, request.headers['last-event-id'] ?? request.query.after);
      const lines = eventLines(context, request, start, openStream(context, reply));
      return reply
        .header('content-type', 'text/event-stream')
        .header('cache-control', 'no-store')
        .header('x-accel-buffering', 'no')
        .send(Readable.from(lines, { objectMode: false, highWaterMark: 0 }));
    },
  );
}

/** Takes a place among the streams until the connection is closed, however far the stream came. */
function openStream(context: RouteContext, reply: FastifyReply): AbortSignal {
  context.waiting.enterStream();
  context.events.listen();
  const ended = new AbortController();
  reply.raw.once('close', () => {
    ended.abort();
    context.events.unlisten();
    context.waiting.leaveStream();
  });
  return ended.signal;
}

/** Null: from the oldest event kept. */
async function startOf(context: RouteContext, stated: string | readonly string[] | undefined): Promise<string | null> {
  if (stated === undefined) return await context.events.head();
  if (stated === 'start') return null;
  if (typeof stated === 'string' && cursorPattern.test(stated)) {
    // What can no longer be resumed without a gap is refused now, not in the middle of a stream.
    await context.controlPlane.store.eventsAfter(stated, 1);
    return stated;
  }
  const detail = 'after: the cursor of an event, such as "17.0", or "start" is accepted.';
  throw new Failure('invalid-request', detail, { field: 'after' });
}

/** Pulled by the client's reading: a slow client holds one page, and nothing grows behind it. */
async function* eventLines(
  context: RouteContext,
  request: FastifyRequest,
  start: string | null,
  signal: AbortSignal,
): AsyncGenerator<string> {
  // Where to resume, should the connection end before the first event.
  yield start === null ? ': connected\n\n' : `: connected\nid: ${start}\n\n`;
  let cursor = start;
  while (!signal.aborted && !context.events.closed) {
    const events = await nextEvents(context, cursor, signal);
    if (!(await mayGoOn(context, request))) return;
    cursor = events.at(-1)?.cursor ?? cursor;
    yield events.length > 0 ? events.map(lineOf).join('') : ': heartbeat\n\n';
  }
}

async function nextEvents(
  context: RouteContext,
  cursor: string | null,
  signal: AbortSignal,
): Promise<readonly Event[]> {
  if (cursor !== null) return await context.events.next(cursor, limits.eventHeartbeatMs, signal);
  const oldest = await context.controlPlane.store.eventsAfter(null, limits.eventPageSize);
  if (oldest.length > 0) return oldest;
  return await context.events.next(await context.events.head(), limits.eventHeartbeatMs, signal);
}

/** A revoked token ends the stream at its next event or heartbeat. */
async function mayGoOn(context: RouteContext, request: FastifyRequest): Promise<boolean> {
  const secret = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1];
  return secret === undefined || (await context.tokens.principalOf(secret)) !== null;
}

function lineOf(event: Event): string {
  return `id: ${event.cursor}\nevent: ${event.kind}\ndata: ${JSON.stringify(event)}\n\n`;
}
