import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { StampFile } from '../../src/storage-node/stamp-file.ts';
import { scratchDirectory } from '../support/local-storage-node.ts';

/** The next time that the file is replaced, there is no space. */
const fillDisk = (path: string) => symlink('/dev/full', `${path}.new`);

test('HAZARD 2: a stamp that rises on a full disk refuses what is behind at once, and is written once there is space', async (t) => {
  const path = join(await scratchDirectory(t), 'stamp.json');
  const file = await StampFile.open(path);
  await file.set({ storeId: 'one', highestGeneration: 5 }, false);
  await fillDisk(path);
  await file.set({ storeId: 'one', highestGeneration: 7 }, false);
  t.like(await t.throwsAsync(file.set({ storeId: 'one', highestGeneration: 6 }, false)), { code: 'store-foreign' });
  t.like((await StampFile.open(path)).stamp, { highestGeneration: 5 });
  await file.set({ storeId: 'one', highestGeneration: 7 }, false);
  t.like((await StampFile.open(path)).stamp, { highestGeneration: 7 });
});

test('HAZARD 2: whose the data is has to be written, and is refused on a full disk', async (t) => {
  const path = join(await scratchDirectory(t), 'stamp.json');
  const file = await StampFile.open(path);
  for (const adopt of [false, true]) {
    await fillDisk(path);
    t.like(await t.throwsAsync(file.set({ storeId: 'one', highestGeneration: 5 }, adopt)), { code: 'ENOSPC' });
    t.is(file.stamp, null);
  }
});
