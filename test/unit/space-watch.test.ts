import test from 'ava';
import type { Pool } from '../../src/domain/pool.ts';
import { SpaceWatch } from '../../src/maintenance/space-watch.ts';

function poolOf(blockedReason: string | null): Pool {
  const counts = { provisioning: 0, free: 1, allocated: 0, wiping: 0, failed: 0, retired: 0, hits: 0, misses: 0 };
  const fixed = { id: 'pool_1', backend: 'file', volumeSizeBytes: 2 ** 30, minFree: 1, maxVolumes: 9 } as const;
  const rest = { filesystem: 'ext4', state: 'active', version: 1, createdAt: 0 } as const;
  return { ...fixed, ...rest, name: 'fast', storageNode: 'node1', status: { ...counts, blockedReason } };
}

/** What the pool is blocked for after a run, with so many of 1,000 bytes left beyond the reserve. */
async function afterRun(blockedReason: string | null, availableBytes: number): Promise<string | null> {
  let reason = blockedReason;
  const store = {
    counters: async () => ({ pools: [poolOf(reason)] }),
    poolBlock: async (_pool: string, why: string | null) => {
      reason = why;
    },
  };
  const node = { name: 'node1', space: async () => ({ totalBytes: 1_000, availableBytes }) };
  await new SpaceWatch({ store, nodes: new Map([['node1', node]]) }).run();
  return reason;
}

test('a pool is blocked when nothing is left beyond the reserve, and not before', async (t) => {
  t.is(await afterRun(null, 1), null);
  t.regex((await afterRun(null, 0)) ?? '', /^out of space: storage node "node1".*storageNode\.reservePercent/);
});

test('a pool opens again once a little is left beyond the reserve', async (t) => {
  const blocked = await afterRun(null, 0);
  t.is(await afterRun(blocked, 9), blocked);
  t.is(await afterRun(blocked, 10), null);
});

test('a pool that is blocked for another reason stays blocked', async (t) => {
  t.is(await afterRun('a person said so', 900), 'a person said so');
});
