/** The embedded store on a disk that something else has filled. */
import { execFileSync } from 'node:child_process';
import { closeSync, fsyncSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { openStore } from '../../src/bin/compose/store.ts';
import { Failure } from '../../src/domain/errors.ts';
import { newId } from '../../src/domain/ids.ts';
import { parseQosLimits } from '../../src/domain/qos.ts';
import type { NewBatch, Store } from '../../src/store/store.ts';
import { until } from '../support/daemon.ts';
import { testOf } from '../support/groups.ts';
import { quietly } from '../support/linux-host-harness.ts';
import { scratchDirectory } from '../support/local-storage-node.ts';
import { admin } from '../support/store-world.ts';

const test = testOf('kernel').serial;

/** A disk of its own. */
async function smallDisk(t: ExecutionContext): Promise<string> {
  const directory = await scratchDirectory(t);
  const [image, disk] = [join(directory, 'image'), join(directory, 'disk')];
  mkdirSync(disk);
  execFileSync('truncate', ['--size=200M', image]);
  execFileSync('mkfs.ext4', ['-q', '-F', '-b', '4096', '-m', '0', image]);
  execFileSync('mount', ['-o', 'loop', image, disk]);
  t.teardown(() => quietly('umount', [disk]));
  return disk;
}

/** As whoever writes into a sparse medium: every block that is left. What was set aside for metadata is free after a flush. */
function fill(disk: string): void {
  const fd = openSync(join(disk, 'fill'), 'a');
  try {
    do {
      for (const bytes of [1024 * 1024, 4096]) writeAll(fd, Buffer.alloc(bytes, 'x'));
      fsyncSync(fd);
    } while (statfsSync(disk).bavail > 0);
  } finally {
    closeSync(fd);
  }
}

function writeAll(fd: number, block: Buffer): void {
  try {
    while (writeSync(fd, block) > 0);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
  }
}

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
