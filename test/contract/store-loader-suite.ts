/** What a group loads with subqueries per row, which the two engines spell differently. */
import test from 'ava';
import { sql } from 'kysely';
import type { Picture } from '../../src/store/group.ts';
import { GroupLoader } from '../../src/store/kysely/group-load.ts';
import type { OpenWorld } from '../support/store-world.ts';

export function storeLoaderSuite(open: OpenWorld): void {
  test('a list arrives as it is, whatever its texts hold', async (t) => {
    const { database } = await open(t);
    const { engine, kysely } = database;
    const texts = ['', 'NULL', '\u001e', 'a\u001fb\u001e', '{"a":"\\n"}', '\\', "'", ' ', ',', '{}', '\n', 'ü😀', null];
    const list = texts.map((text, place) => ({ place, text, number: text === null ? null : -(2 ** 52) - place }));
    const columns = { place: 'bigint', text: 'text', number: 'bigint' } as const;
    const arrived = async (sent: typeof list) =>
      (await sql`SELECT place, text, number FROM ${engine.rows(sent, columns)} c ORDER BY place`.execute(kysely)).rows;
    t.deepEqual(await arrived(list), list);
    for (const each of list) t.deepEqual(await arrived([each]), [each]);
    t.deepEqual(await arrived([]), []);
    const known = ['', 'a', '\u001f', 'b'].map((text) => ({ text }));
    for (const some of [[], [''], ['a', 'a'], ['', '\u001f', 'a']]) {
      const { rows } = await sql<{ text: string }>`
        SELECT text FROM ${engine.rows(known, { text: 'text' })} c WHERE text IN ${engine.texts(some)}`.execute(kysely);
      t.deepEqual(rows.map(({ text }) => text).sort(), [...new Set(some)].sort());
    }
  });

  test('a group finds as many free volumes of each pool as it may need, the oldest first', async (t) => {
    const world = await open(t);
    const small = await world.filledPool({ name: 'small', minFree: 1 });
    const large = await world.filledPool({ name: 'large', minFree: 4 });
    await world.allocate(large[0] ?? '', 'data');
    const loader = new GroupLoader(world.database.connection, world.database.engine);
    const freeVolumes = new Map([
      ['small', 2],
      ['large', 2],
      ['none', 2],
    ]);
    const { freeVolumes: found } = await loader.complete(nothing, {
      freeVolumes,
      luns: [],
      flowKeys: [],
      poolless: false,
    });
    t.deepEqual(
      found.map(({ id }) => id),
      [...small, ...large.slice(1, 3)].toSorted(),
    );
  });

  test('a group finds the lowest freed LUN numbers of each pair of ports, and the first that was never used', async (t) => {
    const world = await open(t);
    await sql`
      INSERT INTO luns (initiator_wwpn, target_wwpn, lun, attachment)
      VALUES ('i', 't', 0, 'a'), ('i', 't', 1, NULL), ('i', 't', 2, 'b'), ('i', 't', 3, NULL), ('i', 't', 4, NULL),
        ('i', 'u', 0, 'a')`.execute(world.database.kysely);
    const loader = new GroupLoader(world.database.connection, world.database.engine);
    const pair = (targetWwpn: string) => ({ initiatorWwpn: 'i', targetWwpn, count: 2 });
    const needs = { freeVolumes: new Map(), luns: ['t', 'u', 'v'].map(pair), flowKeys: [], poolless: false };
    const { luns } = await loader.complete(nothing, needs);
    t.deepEqual(
      luns.map(({ targetWwpn, free, next }) => [targetWwpn, free, next]),
      [
        ['t', [1, 3], 5],
        ['u', [], 1],
        ['v', [], 0],
      ],
    );
  });

  test('a list is a table with the values as they are, as often as a statement reads it', async (t) => {
    const { database } = await open(t);
    const { engine, kysely } = database;
    const rows = [
      { text: `a "quoted" 'text' \u{1F4BE}`, number: 9_007_199_254_740_991 },
      { text: '', number: -1 },
      { text: '12', number: null },
      { text: null, number: 0 },
    ];
    const list = engine.rows(rows, { text: 'text', number: 'bigint' });
    const { rows: found } = await sql`
      SELECT a.text, a.number FROM ${list} a WHERE (SELECT count(*) FROM ${list} b) = 4`.execute(kysely);
    t.deepEqual(found, rows);
    const { rows: empty } = await sql`SELECT 1 FROM ${engine.rows([], { text: 'text' })} a`.execute(kysely);
    t.deepEqual(empty, []);
  });

  test('two lists of one statement are not mistaken for each other', async (t) => {
    const { database } = await open(t);
    const { rows } = await sql`
      SELECT a.text FROM ${database.engine.rows([{ text: 'x' }, { text: 'y' }], { text: 'text' })} a
      WHERE a.text IN ${database.engine.texts(['y', 'z'])}`.execute(database.kysely);
    t.deepEqual(rows, [{ text: 'y' }]);
  });

  test('numbers of a list are kept as integers', async (t) => {
    const { database } = await open(t);
    const luns = database.engine.rows([{ lun: 7 }], { lun: 'bigint' });
    await sql`
      INSERT INTO luns (initiator_wwpn, target_wwpn, lun) SELECT 'i', 't', c.lun FROM ${luns} c`.execute(
      database.kysely,
    );
    const { rows } = await sql`SELECT CAST(lun AS text) AS lun FROM luns`.execute(database.kysely);
    t.deepEqual(rows, [{ lun: '7' }]);
  });
}

const nothing: Picture = {
  pools: [],
  volumes: [],
  freeVolumes: [],
  attachments: [],
  hosts: [],
  storageNodes: [],
  flowPolicies: [],
  qosPolicies: new Set(),
  luns: [],
  retiredPoolless: 0,
  waits: [],
};
