/** The embedded store on a disk that something else has filled. */
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openStore } from '../../src/bin/compose/store.ts';
import { Failure } from '../../src/domain/errors.ts';
import { newId } from '../../src/domain/ids.ts';
import { parseQosLimits } from '../../src/domain/qos.ts';
import type { NewBatch, Store } from '../../src/store/store.ts';
import { until } from '../support/daemon.ts';
import { testOf } from '../support/groups.ts';
import { fill, smallDisk } from '../support/small-disk.ts';
import { admin } from '../support/store-world.ts';

const test = testOf('kernel').serial;

function open(disk: string, onFatal = unexpected): Promise<Store> {
  const store = { kind: 'sqlite', file: join(disk, 'store.sqlite') } as const;
  return openStore({ store, defaultFlowAction: 'permit' }, onFatal);
}

function unexpected(message: string): void {
  throw new Error(message);
}

/** How much each start file has. */
function roomOf(disk: string): readonly number[] {
  const files = ['-room', '-room2', '-room3', '-room4'].map((end) => join(disk, `store.sqlite${end}`));
  return files.map((file) => (statSync(file, { throwIfNoEntry: false })?.blocks ?? 0) * 512);
}

async function change(store: Store): Promise<void> {
  const id = newId('qos');
  await store.qosPolicyCreate({ ...noLimits, name: id });
}

const noLimits = parseQosLimits({});

/** About two megabytes. */
function largeBatch(): NewBatch {
  const labels = Object.fromEntries(Array.from({ length: 8 }, (_, at) => [`l${at}`, 'x'.repeat(255)]));
  const operations = Array.from({ length: 1_000 }, () => {
    const name = newId('vol').toLowerCase();
    return { type: 'volume.create', params: { name, labels } } as const;
  });
  return { id: newId('batch'), atomicity: 'per-operation', operations, principal: admin, idempotency: null };
}

test('HAZARD 16: a store goes on on a full disk, says when its room is used up, and goes on again once there is space', async (t) => {
  const disk = await smallDisk(t);
  const store = await open(disk);
  t.teardown(() => store.close());
  fill(disk);
  for (let at = 0; at < 500; at += 1) await change(store);
  t.true((await store.counters()).hasSpace);

  const refused = await t.throwsAsync(
    async () => {
      for (;;) await store.batchAccept([largeBatch()]);
    },
    { instanceOf: Failure },
  );
  t.is(refused.code, 'store-unavailable');
  t.regex(refused.message, /disk of the store is full/);
  rmSync(join(disk, 'fill'));
  await until(async () => (await store.counters()).hasSpace, { what: 'there is space again' });
  await change(store);
});

test('HAZARD 16: a store is opened again on a full disk', async (t) => {
  const disk = await smallDisk(t);
  const first = await open(disk);
  await change(first);
  await first.close();
  fill(disk);
  const second = await open(disk);
  t.teardown(() => second.close());
  await change(second);
  t.true((await second.counters()).hasSpace);
});

test('a store that no start file has room for says, each time, which disk is full', async (t) => {
  const disk = await smallDisk(t);
  await (await open(disk)).close();
  for (const name of ['', '2', '3', '4']) rmSync(join(disk, `store.sqlite-room${name}`));
  fill(disk);
  for (let start = 1; start <= 2; start += 1) {
    const told = await t.throwsAsync(open(disk), {
      instanceOf: Failure,
      message: `The disk that holds ${disk} is full: free some space on it, then start again.`,
    });
    t.is(told.code, 'out-of-space');
  }
  rmSync(join(disk, 'fill'));
  await (await open(disk)).close();
});

test('what a start on a full disk gave up is taken back where the store cannot be opened', async (t) => {
  const disk = await smallDisk(t);
  await (await open(disk)).close();
  writeFileSync(join(disk, 'store.sqlite'), 'no database');
  fill(disk);
  const before = roomOf(disk);
  t.true(before.every((bytes) => bytes > 0));
  await t.throwsAsync(
    open(disk, () => undefined),
    { any: true, message: /not a database/ },
  );
  const after = roomOf(disk);
  t.deepEqual(after.slice(1), before.slice(1));
  // Of what is given up, the filesystem holds a few blocks back until its journal is written.
  const [largest, largestBefore] = [after[0] ?? 0, before[0] ?? 0];
  t.true(largest > 0.9 * largestBefore, `${largest} bytes of ${largestBefore}`);
});
