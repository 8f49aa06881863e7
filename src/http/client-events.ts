/**
 * Reads a stream of server-sent events: the wire form in, events out, one at a time.
 *
 * A line may be cut anywhere, also inside a character; comments (heartbeats) are skipped.
 */
import type { Event } from '../domain/event.ts';

export async function* eventsOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<Event> {
  let data = '';
  for await (const line of linesOf(chunks)) {
    if (line.startsWith('data:')) data += line.slice(5).trimStart();
    if (line !== '' || data === '') continue;
    yield JSON.parse(data) as Event;
    data = '';
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
