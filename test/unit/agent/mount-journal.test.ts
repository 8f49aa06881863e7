import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { MountJournal, type MountRecord } from '../../../src/agent/mount-journal.ts';
import { Failure } from '../../../src/domain/errors.ts';

async function journalPath(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'mount-journal-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return join(directory, 'mounts.journal');
}

function recordOf(id: string, fields: Partial<MountRecord> = {}): MountRecord {
  return {
    ...{ id, volume: 'data', volumeId: 'vol_data', path: `/mnt/${id}`, readOnly: false, namespace: null },
    ...{ state: 'attaching', held: null, device: null, heldBy: null, createdAt: 1 },
    ...fields,
  };
}

test('what was put is there after a restart, what was removed is not', async (t) => {
  const path = await journalPath(t);
  const journal = await MountJournal.open(path);
  await Promise.all(['a', 'b', 'c'].map((id) => journal.put(recordOf(id))));
  await journal.put(recordOf('b', { state: 'mounted', device: '/dev/loop1' }));
  await journal.remove(['c', 'unknown']);
  await journal.close();
  const again = await MountJournal.open(path);
  t.deepEqual(again.list(), [recordOf('a'), recordOf('b', { state: 'mounted', device: '/dev/loop1' })]);
  await again.close();
});

test('a torn tail is cut, and the journal goes on after it', async (t) => {
  const path = await journalPath(t);
  const journal = await MountJournal.open(path);
  await journal.put(recordOf('a'));
  await journal.close();
  await appendFile(path, '0badc0de [{"put":');
  const torn = await MountJournal.open(path);
  t.deepEqual(torn.list(), [recordOf('a')]);
  await torn.put(recordOf('b'));
  await torn.close();
  const again = await MountJournal.open(path);
  t.is(again.list().length, 2);
  await again.close();
});

test('a damaged journal is refused: unreadable is not empty', async (t) => {
  const path = await journalPath(t);
  const journal = await MountJournal.open(path);
  await journal.put(recordOf('a'));
  await journal.put(recordOf('b'));
  await journal.close();
  const content = await readFile(path, 'utf8');
  await writeFile(path, content.replace('/mnt/a', '/mnt/x'));
  const error = await t.throwsAsync(MountJournal.open(path), { instanceOf: Failure });
  t.is(error.code, 'data-damaged');
});

test('a state that cannot follow is a bug and is not recorded', async (t) => {
  const journal = await MountJournal.open(await journalPath(t));
  await journal.put(recordOf('a', { state: 'detaching' }));
  await t.throwsAsync(journal.put(recordOf('a', { state: 'mounted' })), { message: /mount-transition/ });
  t.is(journal.get('a')?.state, 'detaching');
  await journal.close();
});

test('a put that cannot be made durable is not remembered', async (t) => {
  const journal = await MountJournal.open(await journalPath(t));
  await journal.put(recordOf('a'));
  await journal.close();
  await t.throwsAsync(journal.put(recordOf('b')), { instanceOf: Failure });
  await t.throwsAsync(journal.put(recordOf('a', { state: 'mounted' })), { instanceOf: Failure });
  t.deepEqual(journal.list(), [recordOf('a')]);
});
