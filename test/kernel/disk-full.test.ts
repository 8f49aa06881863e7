/** The whole product on a disk that the owners of its volumes, or anybody else, have filled. */
import { writeFileSync } from 'node:fs';
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
