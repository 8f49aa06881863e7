import { join } from 'node:path';
import test from 'ava';
import { Fence } from '../../src/storage-node/in-process/fence.ts';
import { scratchDirectory } from '../support/local-storage-node.ts';

test('hazard 1: a destroyed volume’s generation is remembered over a restart', async (t) => {
  const path = join(await scratchDirectory(t), 'fence.log');
  const before = await Fence.open(path, new Set());
  await before.raise('a', 5);
  await before.noteDestroyed('a');
  await before.close();
  const after = await Fence.open(path, new Set());
  t.like(after.refusalOf('a', 4), { code: 'stale-generation' });
  t.is(after.refusalOf('a', 5), null);
  await after.close();
});

test('only the oldest destroyed volumes are forgotten, and never one that lives', async (t) => {
  const path = join(await scratchDirectory(t), 'fence.log');
  const fence = await Fence.open(path, new Set(), 2);
  for (const volumeId of ['living', 'a', 'b', 'c']) await fence.raise(volumeId, 5);
  for (const volumeId of ['a', 'b', 'c']) await fence.noteDestroyed(volumeId);
  t.is(fence.refusalOf('a', 1), null);
  for (const volumeId of ['living', 'b', 'c']) {
    t.like(fence.refusalOf(volumeId, 1), { code: 'stale-generation' });
  }
  await fence.close();
});
