/** A thousand volumes of one machine at once, all the way: REST, the agent's socket, devices and mounts, and back. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { until } from '../support/daemon.ts';
import { testOf } from '../support/groups.ts';
import { loopsBelow, mountsBelow } from '../support/linux-host-harness.ts';
import { StandaloneMachine } from '../support/standalone-machine.ts';

const test = testOf('kernel').serial;
const volumes = 1_000;
const atOnce = 32;
const names = Array.from({ length: volumes }, (_, index) => `v${index}`);

test('a thousand volumes are created, mounted at once, written, unmounted and deleted, and nothing of them is left', async (t) => {
  t.timeout(600_000);
  const machine = await StandaloneMachine.start(t, {
    DEFAULT_POOL_VOLUME_SIZE: '16MiB',
    DEFAULT_POOL_MIN_FREE: String(volumes),
    DEFAULT_POOL_MAX_VOLUMES: String(volumes),
  });
  const { controller } = machine;
  await until(async () => (await controller.poolGet('default'))?.status.free === volumes, {
    what: 'the pool is full',
    timeoutMs: 300_000,
    everyMs: 50,
  });
  const created = await controller.batchSubmit({
    operations: names.map((name) => ({ type: 'volume.create', params: { name } })),
  });
  t.deepEqual([...new Set(created.operations.map(({ state }) => state))], ['succeeded']);

  const mounts = await inParallel(names, async (name) => {
    const mount = await machine.mount(name);
    writeFileSync(join(mount.path, 'mark'), name);
    return mount;
  });
  await comesTo(t, machine, StandaloneMachine.ofMounted(volumes));
  t.is(new Set(mounts.map(({ device }) => device)).size, volumes);
  t.deepEqual(
    mounts.filter(({ path, volume }) => readFileSync(join(path, 'mark'), 'utf8') !== volume),
    [],
  );

  await inParallel(mounts, ({ id }) => machine.unmount(id));
  await comesTo(t, machine, StandaloneMachine.ofMounted(0));
  t.deepEqual([loopsBelow(machine.directory), mountsBelow(machine.directory)], [[], []]);
  const deleted = await controller.batchSubmit({
    operations: names.map((volume) => ({ type: 'volume.delete', params: { volume } })),
  });
  t.deepEqual([...new Set(deleted.operations.map(({ state }) => state))], ['succeeded']);
});

async function inParallel<T, A>(items: readonly T[], work: (item: T) => Promise<A>): Promise<A[]> {
  const answers: A[] = [];
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < items.length; index = next++) answers[index] = await work(items[index] as T);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return answers;
}

/** The controller hears of each mount beside its answer, and each detach ends behind it. */
async function comesTo(t: ExecutionContext, machine: StandaloneMachine, expected: object): Promise<void> {
  let found = await inventory(machine);
  const reached = async () => {
    found = await inventory(machine);
    return JSON.stringify(found) === JSON.stringify(expected);
  };
  await until(reached, { what: 'the inventory agrees', timeoutMs: 60_000, everyMs: 100 }).catch(() => {});
  t.deepEqual(found, expected);
}

/** As `machine.counts()`, over all pages. */
async function inventory(machine: StandaloneMachine): Promise<object> {
  const [host] = (await machine.controller.hostList()).items;
  const attachments = await machine.controller.attachmentList({ host: host?.name ?? '' });
  const attached = attachments.filter(({ state }) => state === 'attached').length;
  return { ...(await machine.counts()), attachments: attached, otherAttachments: attachments.length - attached };
}
