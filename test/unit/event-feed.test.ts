import test from 'ava';
import { limits } from '../../src/config/limits.ts';
import type { Event } from '../../src/domain/event.ts';
import { EventFeed } from '../../src/http/event-feed.ts';

/** Events in memory, with counts of how often they were read. */
class EventLog {
  readonly events: Event[] = [];
  reads = 0;

  emit(count: number): void {
    for (let n = 0; n < count; n += 1) {
      const cursor = `${this.events.length + 1}.0`;
      this.events.push({ cursor, at: 1, kind: 'volume', id: cursor, name: null, state: 'free' });
    }
  }

  async eventsHead(): Promise<string> {
    return this.events.at(-1)?.cursor ?? '0.0';
  }

  async eventsAfter(cursor: string | null, atMost: number): Promise<readonly Event[]> {
    this.reads += 1;
    const start = Number((cursor ?? '0.0').split('.')[0]);
    return this.events.slice(start, start + atMost);
  }
}

const longMs = 60_000;

async function read(feed: EventFeed, from: string, count: number): Promise<string[]> {
  const { signal } = new AbortController();
  const seen: string[] = [];
  for (let cursor = from; seen.length < count; cursor = seen.at(-1) ?? cursor) {
    for (const event of await feed.next(cursor, longMs, signal)) seen.push(event.cursor);
  }
  return seen;
}

test('many readers at different places see every event once and in order', async (t) => {
  const log = new EventLog();
  const feed = new EventFeed(() => log);
  log.emit(500);
  feed.listen();
  const readers = [0, 100, 500].map((from) => read(feed, `${from}.0`, 5_000 - from));
  for (let round = 0; round < 45; round += 1) {
    log.emit(100);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const all = log.events.map(({ cursor }) => cursor);
  t.deepEqual(await Promise.all(readers), [all, all.slice(100), all.slice(500)]);
  feed.unlisten();
  await feed.close();
});

test('a reader that fell behind what is remembered reads the store and misses nothing', async (t) => {
  const log = new EventLog();
  const feed = new EventFeed(() => log);
  feed.listen();
  await feed.next('0.0', 1, new AbortController().signal);
  log.emit(limits.eventsRemembered * 2);
  await read(feed, `${limits.eventsRemembered}.0`, limits.eventsRemembered);
  const late = await read(feed, '0.0', limits.eventsRemembered * 2);
  t.deepEqual(
    late,
    log.events.map(({ cursor }) => cursor),
  );
  feed.unlisten();
  await feed.close();
});

test('readers at the end share one look at the store', async (t) => {
  const log = new EventLog();
  const feed = new EventFeed(() => log);
  t.teardown(() => feed.close());
  feed.listen();
  await feed.next('0.0', 1, new AbortController().signal);
  const waiting = Array.from({ length: 50 }, () => read(feed, '0.0', 1));
  await new Promise((resolve) => setImmediate(resolve));
  const before = log.reads;
  log.emit(1);
  await Promise.all(waiting);
  t.true(log.reads - before < 10, `${log.reads - before} reads`);
  feed.unlisten();
  await feed.close();
});

test('a wait ends when the reader goes, and when the feed is closed', async (t) => {
  const feed = new EventFeed(() => new EventLog());
  feed.listen();
  const gone = new AbortController();
  const first = feed.next('0.0', longMs, gone.signal);
  gone.abort();
  t.deepEqual(await first, []);
  const second = feed.next('0.0', longMs, new AbortController().signal);
  await feed.close();
  t.deepEqual(await second, []);
  t.true(feed.closed);
});
