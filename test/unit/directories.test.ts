import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Failure } from '../../src/domain/errors.ts';
import { makeDirectories } from '../../src/system/directories.ts';
import { makeDirectoryDurably } from '../../src/system/durable-file.ts';

function directory(t: ExecutionContext): string {
  const made = mkdtempSync(join(tmpdir(), 'fcr-directories-'));
  t.teardown(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

test('what is missing is made from the outermost on, and a repeat makes nothing', (t) => {
  const root = directory(t);
  mkdirSync(join(root, 'a'));
  const path = join(root, 'a/b/c');
  t.deepEqual(makeDirectories(path, 0o700), [join(root, 'a/b'), path]);
  t.is(statSync(path).mode & 0o777, 0o700);
  t.deepEqual(makeDirectories(path, 0o700), []);
});

const cannot = async (t: ExecutionContext, path: string, reason: RegExp) => {
  const error = await t.throwsAsync(makeDirectoryDurably(path), { instanceOf: Failure });
  t.is(error.code, 'invalid-configuration');
  t.true(error.message.startsWith(`${path} cannot be made a directory: `), error.message);
  t.regex(error.message, reason);
};

test('where nothing can be made, that is said at once, whatever the filesystem answers', async (t) => {
  await cannot(t, '/proc/fc-redirect/data', /no directory can be made there \(ENOENT\)/);
  await cannot(t, '/sys/fc-redirect/data', /no directory .* be made there \(E(?:PERM|ACCES|ROFS)\)|read-only/);
});

test('a file in the place of a directory, or above it, is said to be one', async (t) => {
  const file = join(directory(t), 'file');
  writeFileSync(file, '');
  await cannot(t, file, /is there already and is no directory/);
  await cannot(t, join(file, 'below'), /below something that is no directory \(ENOTDIR\)/);
});
