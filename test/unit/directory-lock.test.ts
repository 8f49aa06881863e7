import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { lockDirectory } from '../../src/system/directory-lock.ts';
import { scratchDirectory } from '../support/local-storage-node.ts';

test('hazard 4: a data directory is refused to a second holder, who is told of the first', async (t) => {
  const directory = await scratchDirectory(t);
  const lock = await lockDirectory(directory);
  const error = await t.throwsAsync(lockDirectory(directory));
  t.like(error, { code: 'directory-in-use' });
  t.true(error?.message.includes(directory) && error.message.includes(String(process.pid)));
  await lock.release();
  const again = await lockDirectory(directory);
  t.is(await readFile(join(directory, 'lock'), 'utf8'), `${process.pid}\n`);
  await again.release();
});

test('hazard 4: a lock is not lost because nobody refers to it any more', async (t) => {
  const directory = await scratchDirectory(t);
  await lockDirectory(directory);
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  for (let turn = 0; turn < 5; turn += 1) {
    collectGarbage();
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.like(await t.throwsAsync(lockDirectory(directory)), { code: 'directory-in-use' });
});

test('hazard 4: the lock of a killed process is free', async (t) => {
  const directory = await scratchDirectory(t);
  const module = new URL('../../src/system/directory-lock.ts', import.meta.url).href;
  const script = `const { lockDirectory } = await import('${module}');
    await lockDirectory('${directory}'); console.log('locked'); setInterval(() => {}, 1000);`;
  const holder = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => holder.kill('SIGKILL'));
  await new Promise((resolve) => holder.stdout.once('data', resolve));
  t.like(await t.throwsAsync(lockDirectory(directory)), { code: 'directory-in-use' });
  const gone = new Promise((resolve) => holder.once('exit', resolve));
  holder.kill('SIGKILL');
  await gone;
  const lock = await lockDirectory(directory);
  await lock.release();
  t.pass();
});
