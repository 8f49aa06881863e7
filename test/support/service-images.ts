/**
 * PostgreSQL's and Redis's official images, as far as a compose file relies on them, made of this machine's own
 * programs, because no image can be pulled.
 */
import { cpSync, existsSync, globSync } from 'node:fs';
import { basename, join } from 'node:path';
import { copyProgram, installPrograms } from './debian-base.ts';
import { type DockerEngine, debianPath } from './docker-engine.ts';

const tools = ['sh', 'id', 'mkdir', 'chown', 'chmod', 'rm', 'setpriv'];
const entrypoint = '/usr/local/bin/docker-entrypoint.sh';

export async function importRedisImage(engine: DockerEngine, name: string): Promise<void> {
  const fill = (root: string) => {
    installPrograms(root, [...tools, 'redis-server', 'redis-cli']);
    installEntrypoint(root, 'redis');
  };
  const changes = ['WORKDIR /data', 'VOLUME /data', `ENTRYPOINT ["${entrypoint}"]`, `ENV PATH=${debianPath}`];
  await engine.importImage(name, fill, ...changes);
}

export async function importPostgresImage(engine: DockerEngine, name: string): Promise<void> {
  const fill = (root: string) => {
    installPrograms(root, tools);
    installPostgres(root);
    installEntrypoint(root, 'postgres');
  };
  const data = '/var/lib/postgresql/data';
  const environment = [`ENV PATH=${join(postgresHome(), 'bin')}:${debianPath}`, `ENV PGDATA=${data}`];
  await engine.importImage(name, fill, ...environment, `VOLUME ${data}`, `ENTRYPOINT ["${entrypoint}"]`);
}

/** Where this machine has its newest PostgreSQL. */
export function postgresHome(): string {
  const [home] = globSync('/usr/lib/postgresql/*')
    .filter((directory) => existsSync(join(directory, 'bin/initdb')))
    .sort((left, right) => Number(basename(right)) - Number(basename(left)));
  if (home === undefined) throw new Error('PostgreSQL is missing: package postgresql');
  return home;
}

/** That PostgreSQL, at the same place, with the libraries that its programs name, and one time zone. */
export function installPostgres(root: string): void {
  const home = postgresHome();
  const unused = /llvm|bitcode|\/pgxs|\/bin\//;
  for (const path of [home, join('/usr/share/postgresql', basename(home)), '/usr/share/zoneinfo/Etc/UTC']) {
    const filter = (source: string) => !unused.test(source);
    cpSync(path, join(root, path), { recursive: true, dereference: true, filter });
  }
  for (const name of ['postgres', 'initdb', 'pg_ctl', 'pg_isready', 'psql']) {
    copyProgram(root, join(home, 'bin', name), join(home, 'bin', name));
  }
}

function installEntrypoint(root: string, service: 'postgres' | 'redis'): void {
  cpSync(join(import.meta.dirname, `fixtures/docker-entrypoint-${service}.sh`), join(root, entrypoint));
}
