/** A database that insists on an empty directory of its own user, in containers that are not root. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../support/daemon.ts';
import { installBusybox } from '../support/docker-engine.ts';
import { DockerWorld } from '../support/docker-world.ts';
import { testOf } from '../support/groups.ts';
import { installPostgres, postgresHome } from '../support/service-images.ts';

const test = testOf('clients').serial;
const postgresImage = 'fc/postgres:1';

const serve = `
[ -s /pgdata/PG_VERSION ] || initdb -D /pgdata -U postgres --locale=C --encoding=UTF8 >/tmp/initdb.log || exit 1
exec postgres -D /pgdata -k /tmp -c listen_addresses=`;

test('PostgreSQL makes its data directory on a volume, not as root, and the next container finds the rows', async (t) => {
  t.timeout(170_000);
  const world = await DockerWorld.start(t);
  const { engine } = world;
  await engine.importImage(postgresImage, (root) => {
    installBusybox(root);
    installPostgres(root);
    writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0::/:/bin/sh\npostgres:x:70:70::/tmp:/bin/sh\n');
  });
  await world.create('pg', 'size=512MiB', 'uid=70', 'gid=70', 'mode=0700');
  const path = `PATH=${postgresHome()}/bin:/bin`;
  const start = (name: string) =>
    engine.docker(
      ...['run', '-d', '--name', name, '-u', '70:70', '-e', path, '-v', 'pg:/pgdata', '--shm-size', '128m'],
      ...[postgresImage, 'sh', '-c', serve],
    );
  const sql = (name: string, text: string) =>
    engine.docker('exec', name, 'psql', '-h', '/tmp', '-U', 'postgres', '-XAtc', text);
  let last = '';
  const isReady = (name: string) =>
    sql(name, 'select 1').then(
      () => true,
      (error: unknown) => {
        last = String(error);
        return false;
      },
    );
  const ready = async (name: string) => {
    await until(() => isReady(name), { what: `${name} answers`, timeoutMs: 40_000, everyMs: 200 }).catch(
      async (error) => {
        throw new Error(`${error}: ${last} ${await engine.command('/bin/sh', ['-c', `docker logs ${name} 2>&1`])}`);
      },
    );
  };
  await start('first');
  await ready('first');
  await sql('first', 'create table kept (n int); insert into kept select generate_series(1, 1000)');
  await engine.docker('rm', '-f', 'first');
  await world.comesToRest(t);
  await start('second');
  await ready('second');
  t.is(await sql('second', 'select count(*), sum(n) from kept'), '1000|500500');
  await engine.docker('rm', '-f', 'second');
  await engine.docker('volume', 'rm', 'pg');
});
