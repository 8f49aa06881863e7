/**
 * Events, in the order of commits. A commit's number is taken under a lock that is held through the commit, so numbers
 * become visible in order and a reader that continues behind its cursor skips nothing.
 */

import { Failure } from '../../domain/errors.ts';
import type { Event } from '../../domain/event.ts';
import type { Database } from './database.ts';
import { eventResources } from './rows.ts';
import type { Schema } from './schema.ts';
import { sql } from './sql.ts';

/**
 * At most so many events behind the cursor; null: from the oldest kept. A cursor whose successors are no longer kept is
 * refused (`invalid-request`, field `cursor`): going on would be a gap that nobody is told of.
 */
export async function eventsAfter(
  database: Database,
  cursor: string | null,
  atMost: number,
): Promise<readonly Event[]> {
  const from = cursor === null ? null : positionOf(cursor);
  return database.read(async (db) => {
    const events: Event[] = [];
    let commit = from?.commit ?? 0;
    for (;;) {
      const query = db.selectFrom('events').selectAll().where('commit_number', '>=', commit).orderBy('commit_number');
      const records = await query.limit(atMost).execute();
      if (from?.commit === commit) refuseForgotten(from, records[0]);
      events.push(...records.flatMap((record) => behind(record, from)));
      const last = records.at(-1);
      if (events.length >= atMost || last === undefined || records.length < atMost) return events.slice(0, atMost);
      commit = last.commit_number + 1;
    }
  });
}

/** The newest cursor, for a stream that starts now. */
export async function eventsHead(database: Database): Promise<string> {
  const { rows } = await database.read((db) =>
    sql<Schema['events']>`
      SELECT s.value AS commit_number, e.at, e.items FROM sequences AS s
      LEFT JOIN events AS e ON e.commit_number = s.value WHERE s.name = 'commit'`.execute(db),
  );
  const record = rows[0];
  const told = record?.items == null ? [] : eventResources(record);
  return told.at(-1)?.cursor ?? `${record?.commit_number ?? 0}.0`;
}

interface Position {
  readonly commit: number;
  readonly index: number;
}

function positionOf(cursor: string): Position {
  const match = /^(\d{1,15})\.(\d{1,9})$/.exec(cursor);
  if (match === null) throw refused('is not a cursor');
  return { commit: Number(match[1]), index: Number(match[2]) };
}

function behind(record: Schema['events'], from: Position | null): readonly Event[] {
  const events = eventResources(record);
  return from?.commit === record.commit_number ? events.slice(from.index + 1) : events;
}

/** Every commit has its row, so what follows the cursor is kept when the next row is the next commit's. */
function refuseForgotten(from: Position, next: Schema['events'] | undefined): void {
  if (next !== undefined && next.commit_number > from.commit + 1)
    throw refused('is older than the events that are kept');
}

function refused(why: string): Failure {
  return new Failure('invalid-request', `cursor: it ${why}; begin again without one.`, { field: 'cursor' });
}
