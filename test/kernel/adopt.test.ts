/** A store that is behind the data or another one must not clean up what it does not know, until a person says so. */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../support/daemon.ts';
import { testOf } from '../support/groups.ts';
import { StandaloneMachine } from '../support/standalone-machine.ts';

const test = testOf('kernel').serial;
const storeFiles = ['store.sqlite', 'store.sqlite-wal', 'store.sqlite-shm'];

const secret = 'TOPSECRET-of-the-owner-before';

/** False for a medium that was removed since it was listed. */
function holdsSecret(machine: StandaloneMachine, name: string): boolean {
  const path = join(machine.directory, 'data', 'volumes', name);
  try {
    return readFileSync(path).includes(secret);
  } catch (error) {
    if (existsSync(path)) throw error;
    return false;
  }
}

function media(machine: StandaloneMachine): string[] {
  return readdirSync(join(machine.directory, 'data', 'volumes'))
    .filter((name) => name.endsWith('.img'))
    .sort();
}

async function unready(machine: StandaloneMachine): Promise<readonly string[]> {
  const { body } = await machine.transport.call({ method: 'GET', path: '/readyz', repeatable: true, alsoAnswer: 503 });
  return (body as { readonly unready: readonly { readonly reason: string }[] }).unready.map(({ reason }) => reason);
}

async function adopt(machine: StandaloneMachine): Promise<void> {
  const { items } = await machine.controller.storageNodeList();
  for (const { name } of items) await machine.controller.storageNodeAdopt(name);
}

/** Answers what starts the machine with the store of now. */
async function backUp(machine: StandaloneMachine): Promise<() => Promise<void>> {
  const [data, backup] = [join(machine.directory, 'data'), join(machine.directory, 'backup')];
  mkdirSync(backup);
  const startOver = async (from: string, to: string) => {
    await machine.kill();
    for (const name of storeFiles) copyFileSync(join(from, name), join(to, name));
    await machine.start();
  };
  await startOver(data, backup);
  return () => startOver(backup, data);
}

async function untilFilled(machine: StandaloneMachine): Promise<void> {
  const filled = async () => ((await machine.controller.poolGet('default'))?.status.free ?? 0) >= 2;
  await until(filled, { what: 'the pool is filled', timeoutMs: 60_000, everyMs: 50 });
}

test('HAZARD 2: a restored backup deletes nothing before it is adopted, and later effects are above the old ones', async (t) => {
  const machine = await StandaloneMachine.start(t);
  await untilFilled(machine);
  const restore = await backUp(machine);
  await machine.controller.volumeCreate({ name: 'after-the-backup' });
  const { path } = await machine.mount('after-the-backup');
  writeFileSync(join(path, 'file'), 'bytes of a customer');
  await untilFilled(machine);
  const before = media(machine);
  await restore();
  t.regex((await unready(machine)).join(), /behind the data of storage node .* fcr adopt/);
  await t.throwsAsync(machine.controller.volumeCreate({ name: 'too-early' }, { deadlineMs: 2_000 }), {
    code: 'deadline-exceeded',
  });
  t.deepEqual(media(machine), before);
  t.is(readFileSync(join(path, 'file'), 'utf8'), 'bytes of a customer');

  await adopt(machine);
  t.deepEqual(await unready(machine), []);
  await until(async () => (await machine.controller.volumeGet('too-early'))?.state === 'allocated', {
    what: 'what was accepted meanwhile ends',
    timeoutMs: 30_000,
    everyMs: 50,
  });
  const mount = await machine.mount('too-early');
  t.deepEqual(readdirSync(mount.path), []);
});

test('HAZARD 2: after an adopted restore no free volume shows what an owner wrote that the store does not know', async (t) => {
  const machine = await StandaloneMachine.start(t);
  await untilFilled(machine);
  const restore = await backUp(machine);
  await machine.controller.volumeCreate({ name: 'unknown-to-the-backup' });
  const { path, id } = await machine.mount('unknown-to-the-backup');
  writeFileSync(join(path, 'file'), secret);
  await machine.unmount(id);
  await restore();
  t.true(
    media(machine).some((name) => holdsSecret(machine, name)),
    'the secret is there to be found',
  );

  await adopt(machine);
  await until(async () => media(machine).every((name) => !holdsSecret(machine, name)), {
    what: 'nothing holds the secret',
    timeoutMs: 60_000,
    everyMs: 100,
  });
  await untilFilled(machine);
  t.false(media(machine).some((name) => holdsSecret(machine, name)));
});

test('HAZARD 2: an empty store deletes nothing of another one before it is adopted', async (t) => {
  const machine = await StandaloneMachine.start(t);
  await machine.controller.volumeCreate({ name: 'data' });
  await untilFilled(machine);
  const before = media(machine);
  await machine.kill();
  for (const name of storeFiles) rmSync(join(machine.directory, 'data', name), { force: true });

  await machine.start();
  t.regex((await unready(machine)).join(), /belongs to another store/);
  t.deepEqual(media(machine), before);

  await adopt(machine);
  t.deepEqual(await unready(machine), []);
  const onlyOwn = async () => media(machine).every((name) => !before.includes(name));
  await until(onlyOwn, { what: 'what the store does not know is removed', timeoutMs: 60_000, everyMs: 100 });
});
