/** The embedded store on a disk that something else has filled. */
import { rmSync } from 'node:fs';
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

function open(disk: string): Promise<Store> {
  const store = { kind: 'sqlite', file: join(disk, 'store.sqlite') } as const;
  return openStore({ store, defaultFlowAction: 'permit' }, (message) => {
    throw new Error(message);
  });
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
