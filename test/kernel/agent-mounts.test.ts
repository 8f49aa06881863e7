/** The whole way on real devices: from a mount over the agent's socket to bytes, and to nothing again. */
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { Failure } from '../../src/domain/errors.ts';
import { until } from '../support/daemon.ts';
import { testOf } from '../support/groups.ts';
import { holdMounts } from '../support/mount-holder.ts';
import { StandaloneMachine } from '../support/standalone-machine.ts';

const test = testOf('kernel').serial;

const rounds = Number(process.env.FCR_TEST_KILLS ?? 6);

/** Waits until the machine has come to these counts, and fails with the difference if it does not. */
async function comesTo(t: ExecutionContext, machine: StandaloneMachine, expected: object): Promise<void> {
  let counts = await machine.counts();
  const reached = async () => {
    counts = await machine.counts();
    return JSON.stringify(counts) === JSON.stringify(expected);
  };
  await until(reached, { what: 'the inventory agrees', timeoutMs: 120_000, everyMs: 100 }).catch(() => {});
  t.deepEqual(counts, expected, machine.logTail);
}

test('a volume is mounted, written, unmounted, given back, and its next owner finds nothing of it', async (t) => {
  const machine = await StandaloneMachine.start(t);
  await machine.controller.volumeCreate({ name: 'data' });
  const { id, path, device } = await machine.mount('data');
  t.regex(device ?? '', /^\/dev\/loop\d+$/);
  t.deepEqual(readdirSync(path), []);
  writeFileSync(join(path, 'secret'), 'of the first owner');
  await comesTo(t, machine, StandaloneMachine.ofMounted(1));
  await machine.unmount(id);
  await comesTo(t, machine, StandaloneMachine.ofMounted(0));

  const again = await machine.mount('data');
  t.is(readFileSync(join(again.path, 'secret'), 'utf8'), 'of the first owner');
  await machine.unmount(again.id);
  await machine.controller.volumeDelete('data');
  for (let owner = 0; owner < 3; owner += 1) {
    await machine.controller.volumeCreate({ name: `other${owner}` });
    const other = await machine.mount(`other${owner}`);
    t.deepEqual(readdirSync(other.path), []);
  }
  await comesTo(t, machine, StandaloneMachine.ofMounted(3));
});

test('HAZARDS 10: mounts outlive a kill of everything, are known afterwards, and are the same devices', async (t) => {
  const machine = await StandaloneMachine.start(t);
  await machine.controller.volumeCreate({ name: 'data' });
  const mount = await machine.mount('data');
  writeFileSync(join(mount.path, 'file'), 'before');
  await machine.kill();
  writeFileSync(join(mount.path, 'file'), 'while nobody ran');
  await machine.start();
  await comesTo(t, machine, StandaloneMachine.ofMounted(1));
  t.like((await machine.mounts())[0], { id: mount.id, device: mount.device, state: 'mounted' });
  t.is(readFileSync(join(mount.path, 'file'), 'utf8'), 'while nobody ran');
  await machine.unmount(mount.id);
  await comesTo(t, machine, StandaloneMachine.ofMounted(0));
});

test('an attachment that was asked for over REST outlives a mount that fails, and the next mount takes it up', async (t) => {
  const machine = await StandaloneMachine.start(t);
  const { controller } = machine;
  await controller.volumeCreate({ name: 'data' });
  const host = (await controller.hostList()).items[0]?.name ?? '';
  const { id } = await controller.attachmentCreate({ volume: 'data', host });
  const path = machine.mountPath('data');
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, 'file'), 'in the way');
  await t.throwsAsync(machine.mount('data'), { code: 'mount-path-busy' });
  t.like(await controller.attachmentGet(id), { state: 'exported', hostSide: 'none', epoch: 1 });
  rmSync(path, { recursive: true });
  const mount = await machine.mount('data');
  t.is(mount.attachment, id);
  await machine.unmount(mount.id);
  await comesTo(t, machine, StandaloneMachine.ofMounted(0));
});

test('HAZARDS 3: a container that holds the filesystem keeps the volume detaching until it ends', async (t) => {
  const machine = await StandaloneMachine.start(t);
  await machine.controller.volumeCreate({ name: 'data' });
  const { id, path } = await machine.mount('data');
  await comesTo(t, machine, StandaloneMachine.ofMounted(1));
  const release = await holdMounts(t);
  const error = await t.throwsAsync(machine.unmount(id), { instanceOf: Failure });
  t.is(error.code, 'device-busy');
  t.like((await machine.mounts())[0], { state: 'detaching', path });
  t.regex((await machine.mounts())[0]?.heldBy ?? '', /mount namespace of process/);
  t.like((await machine.controller.attachmentPage()).items[0], { state: 'detaching', hostSide: 'attached' });
  await release();
  await comesTo(t, machine, StandaloneMachine.ofMounted(0));
  await machine.controller.volumeDelete('data');
});

test('a detach over REST takes the mount away, and owner and mode are those that were asked for', async (t) => {
  const machine = await StandaloneMachine.start(t);
  await machine.controller.volumeCreate({ name: 'data' });
  const path = machine.mountPath('owned');
  const body = { volume: 'data', path, uid: 1234, gid: 4321, mode: '0750' };
  await machine.agent.call({ method: 'POST', path: '/v1/mounts', body, repeatable: false });
  const { uid, gid, mode } = statSync(path);
  t.deepEqual([uid, gid, mode & 0o777], [1234, 4321, 0o750]);
  const [attachment] = (await machine.controller.attachmentPage()).items;
  await machine.controller.attachmentDelete(attachment?.id ?? '', { waitMs: 10_000 });
  await comesTo(t, machine, StandaloneMachine.ofMounted(0));
});

test('killed again and again while volumes come and go, the machine comes to order every time', async (t) => {
  const machine = await StandaloneMachine.start(t);
  const names = ['a', 'b', 'c', 'd'];
  for (const name of names) await machine.controller.volumeCreate({ name });
  for (let round = 0; round < rounds; round += 1) {
    const churn = Promise.all(names.map((name) => mountAndUnmount(machine, name)));
    await sleep(30 + ((round * 45) % 400));
    await machine.kill();
    await churn;
    await machine.start();
    const inOrder = async () => isInOrder(await machine.counts());
    await until(inOrder, { what: 'order', timeoutMs: 120_000, everyMs: 100 }).catch(() => {});
    t.true(await inOrder(), `after kill ${round}: ${await machine.report()}`);
  }
  for (const { id } of await machine.mounts()) await machine.unmount(id);
  await comesTo(t, machine, StandaloneMachine.ofMounted(0));
});

/** Until the machine dies under it. */
async function mountAndUnmount(machine: StandaloneMachine, name: string): Promise<void> {
  try {
    for (;;) await machine.unmount((await machine.mount(name)).id);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
  }
}

/** As many devices, mounts, attachments and links as there are records, and nothing unfinished. */
function isInOrder(counts: object): boolean {
  const records = 'records' in counts && typeof counts.records === 'number' ? counts.records : -1;
  return JSON.stringify(counts) === JSON.stringify(StandaloneMachine.ofMounted(records));
}
