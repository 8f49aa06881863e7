/**
 * Reads a stream of server-sent events: the wire form in, events out, one at a time.
 *
 * A line may be cut anywhere, also inside a character; comments (heartbeats) are skipped.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { errorCatalogue, Failure } from '../domain/errors.ts';
import type { Event } from '../domain/event.ts';
import { backoffMs } from './client-transport.ts';

/** A stream that ends when its connection does; `onCursor` hears where to resume, also before the first event. */
export type EventStream = (
  after: { readonly cursor: string | null; readonly resumed: boolean },
  onCursor: (cursor: string) => void,
) => AsyncIterable<Event>;

/**
 * Goes on after the last event whenever the connection ends, until the signal: no event is missed and none comes twice.
 * What the controller refuses is thrown, and so is a controller that was never there.
 */
export async function* eventsFollowed(
  open: EventStream,
  options: { readonly after: string | null; readonly signal: AbortSignal; readonly onLost: (reason: string) => void },
): AsyncGenerator<Event> {
  const { signal, onLost } = options;
  let cursor = options.after;
  let resumed = false;
  for (let tries = 1; !signal.aborted; tries += 1) {
    let reason = 'it ended the stream';
    try {
      const onCursor = (reached: string) => {
        cursor = reached;
        resumed = true;
        tries = 1;
      };
      yield* open({ cursor, resumed }, onCursor);
    } catch (error) {
      if (signal.aborted) return;
      if (!resumed || !canPass(error)) throw error;
      reason = error.message;
    }
    if (signal.aborted) return;
    if (tries === 1) onLost(reason);
    await pause(backoffMs(tries, null), null, { signal }).catch(() => undefined);
  }
}

function canPass(error: unknown): error is Failure {
  return error instanceof Failure && errorCatalogue[error.code].retryable;
}

export async function* eventsOf(
  chunks: AsyncIterable<Buffer>,
  onCursor: (cursor: string) => void = () => undefined,
): AsyncGenerator<Event> {
  let data = '';
  let cursor: string | null = null;
  for await (const line of linesOf(chunks)) {
    if (line.startsWith('data:')) data += line.slice(5).trimStart();
    if (line.startsWith('id:')) cursor = line.slice(3).trim();
    if (line !== '') continue;
    if (data !== '') yield JSON.parse(data) as Event;
    data = '';
    // Behind the event: what was not taken is to come again.
    if (cursor !== null) onCursor(cursor);
    cursor = null;
  }
}

async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of chunks) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
}
