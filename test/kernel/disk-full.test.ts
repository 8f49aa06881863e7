/** The whole product on a disk that the owners of its volumes, or anybody else, have filled. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../../src/domain/errors.ts';
import { until } from '../support/daemon.ts';
import { testOf } from '../support/groups.ts';
import { fill, smallDisk } from '../support/small-disk.ts';
import { StandaloneMachine } from '../support/standalone-machine.ts';

const test = testOf('kernel').serial;

const settings = (disk: string) => ({ DATA_DIR: join(disk, 'data'), DEFAULT_POOL_CREATE: 'false' });
const volume = { name: 'data', sizeBytes: 128 * 1024 * 1024 };
const lessThanItHas = Buffer.alloc(16 * 1024 * 1024, 'x');

test('an unmount on a full disk tells once that writes are lost, and then succeeds', async (t) => {
  const disk = await smallDisk(t, '500M');
  const machine = await StandaloneMachine.start(t, settings(disk));
  await machine.controller.volumeCreate(volume);
  const { id, path } = await machine.mount(volume.name);
  fill(disk);
  writeFileSync(join(path, 'file'), lessThanItHas);
  const told = await t.throwsAsync(machine.unmount(id), { instanceOf: Failure });
  t.is(told.code, 'writes-lost');
  t.regex(told.message, /^The disk under volume vol_\w+ is full: what was written to it last is lost/);
  await machine.unmount(id);
  t.deepEqual(await machine.mounts(), []);
});

test('HAZARDS 16: on a disk that is filled anew after each start the service starts again, unmounts and deletes', async (t) => {
  const disk = await smallDisk(t, '500M');
  const machine = await StandaloneMachine.start(t, settings(disk));
  const { controller } = machine;
  const { id } = await controller.volumeCreate(volume);
  const mount = await machine.mount(volume.name);
  for (let start = 1; start <= 4; start += 1) {
    await machine.kill();
    fill(disk);
    await machine.start();
    t.is((await controller.volumeGet(volume.name))?.state, 'allocated');
  }
  await machine.unmount(mount.id);
  await controller.volumeDelete(volume.name);
  await until(async () => (await controller.volumeGet(id)) === null, { what: 'its bytes are gone' });
});

test('a start without a free block, and without room of its own, says each time which disk is full', async (t) => {
  const disk = await smallDisk(t, '500M');
  const machine = await StandaloneMachine.start(t, settings(disk));
  const { DATA_DIR } = settings(disk);
  const fillAll = async () => {
    await machine.kill();
    for (const name of ['', '2', '3', '4']) rmSync(join(DATA_DIR, `store.sqlite-room${name}`), { force: true });
    fill(disk);
  };
  // It lives on what the index of the log had.
  await fillAll();
  await machine.start();
  const told = `fcr: The disk that holds ${DATA_DIR} is full: free some space on it, then start again. (out-of-space)`;
  for (let start = 1; start <= 2; start += 1) {
    await fillAll();
    await t.throwsAsync(machine.start(), { message: (message) => message.endsWith(told) });
  }
  rmSync(join(disk, 'fill'));
  await machine.start();
});
