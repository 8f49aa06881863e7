import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { commandAs, Daemon, daemonDirectory, isRunning, removeDaemonDirectory, signalPid, until } from './daemon.ts';

const run = promisify(execFile);
const versionsDirectory = '/usr/lib/postgresql';
const superuser = 'postgres';
const initdbTimeoutMs = 60_000;

export interface PostgresServerOptions {
  /**
   * No fsync, for tests of the contract alone. Such a server refuses `kill()` and `restart()`, so no test of durability
   * can be run on it by mistake.
   */
  readonly unsafeFast?: boolean;
  /** Further settings of `postgresql.conf`. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface Database {
  readonly name: string;
  /** For node-postgres and for the product's own configuration. */
  readonly url: string;
  /** Removes it, ending its connections. */
  drop(): Promise<void>;
}

/** A real PostgreSQL cluster for one test file, on a unix socket in its own directory, durable unless told otherwise. */
export class PostgresServer {
  readonly directory: string;
  readonly #dataDirectory: string;
  readonly #options: PostgresServerOptions;
  readonly #binaries: string;
  #daemon: Daemon | null = null;

  private constructor(options: PostgresServerOptions, binaries: string) {
    this.#options = options;
    this.#binaries = binaries;
    this.directory = daemonDirectory('postgres');
    this.#dataDirectory = join(this.directory, 'data');
  }

  static async start(options: PostgresServerOptions = {}): Promise<PostgresServer> {
    const server = new PostgresServer(options, findBinaries());
    try {
      await server.#initialize();
      await server.#run();
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  get pid(): number | null {
    return this.#daemon?.pid ?? null;
  }

  /** A fresh, empty database. */
  async createDatabase(): Promise<Database> {
    const name = `fcr_${randomUUID().replaceAll('-', '')}`;
    await this.query(`CREATE DATABASE ${name} TEMPLATE template0`);
    return {
      name,
      url: this.url(name),
      drop: async () => {
        await this.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
      },
    };
  }

  url(database = 'postgres'): string {
    return `postgresql://${superuser}@localhost/${database}?host=${encodeURIComponent(this.directory)}`;
  }

  /** One statement as superuser over a connection of its own. */
  async query(sql: string, database = 'postgres'): Promise<readonly Record<string, unknown>[]> {
    const client = new pg.Client({ connectionString: this.url(database), connectionTimeoutMillis: 5_000 });
    client.on('error', () => undefined);
    try {
      await client.connect();
      const answer = await client.query<Record<string, unknown>>(sql);
      return answer.rows;
    } finally {
      await client.end();
    }
  }

  /** SIGKILL to the postmaster and every backend; none of them runs any more when this resolves. */
  async kill(): Promise<void> {
    if (this.#options.unsafeFast) throw new Error('a cluster without fsync proves nothing about a crash');
    const daemon = this.#daemon;
    if (daemon === null) return;
    this.#daemon = null;
    // Stopped first, so that it starts no further backend while its children are listed.
    daemon.signal('SIGSTOP');
    const processes = [daemon.pid, ...daemon.children()];
    for (const pid of processes) signalPid(pid, 'SIGKILL');
    await until(() => !processes.some(isRunning), { what: 'every PostgreSQL process is gone' });
  }

  async restart({ empty = false }: { readonly empty?: boolean } = {}): Promise<void> {
    await this.kill();
    if (empty) {
      rmSync(this.#dataDirectory, { recursive: true, force: true });
      await this.#initialize();
    }
    await this.#run();
  }

  /** Stops every process of it: connections stay and are not answered. */
  pause(): void {
    this.#daemon?.signal('SIGSTOP');
    for (const pid of this.#daemon?.children() ?? []) signalPid(pid, 'SIGSTOP');
  }

  resume(): void {
    for (const pid of this.#daemon?.children() ?? []) signalPid(pid, 'SIGCONT');
    this.#daemon?.signal('SIGCONT');
  }

  async close(): Promise<void> {
    const daemon = this.#daemon;
    this.resume();
    this.#daemon = null;
    // An immediate shutdown gives its System V shared memory back, which a SIGKILL leaves to the machine.
    daemon?.signal('SIGQUIT');
    if (daemon !== null && !(await daemon.exited(10_000))) {
      for (const pid of [...daemon.children(), daemon.pid]) signalPid(pid, 'SIGKILL');
      await daemon.exited(10_000);
    }
    removeDaemonDirectory(this.directory);
  }

  async #initialize(): Promise<void> {
    if (asUser() !== undefined) await run('chown', [`${superuser}:`, this.directory]);
    chmodSync(this.directory, 0o755);
    const argv = [join(this.#binaries, 'initdb'), `--pgdata=${this.#dataDirectory}`, `--username=${superuser}`];
    const options = ['--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync', '--no-instructions'];
    await run('setpriv', commandAs(asUser(), [...argv, ...options], 'KILL'), {
      timeout: initdbTimeoutMs,
      cwd: '/',
      env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
    });
  }

  async #run(): Promise<void> {
    const settings = Object.entries(this.#settings()).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const daemon = new Daemon(this.directory, {
      argv: [join(this.#binaries, 'postgres'), '-D', this.#dataDirectory, ...settings],
      ...(asUser() === undefined ? {} : { user: superuser }),
      parentDeathSignal: 'QUIT',
      logFile: join(this.directory, 'log'),
    });
    this.#daemon = daemon;
    await until(() => !daemon.alive || this.#answers(), { what: 'PostgreSQL answers a query', everyMs: 25 });
    if (!daemon.alive) throw new Error(`PostgreSQL ended at its start:\n${daemon.logTail}`);
  }

  async #answers(): Promise<boolean> {
    if (!existsSync(join(this.directory, '.s.PGSQL.5432'))) return false;
    return this.query('SELECT 1').then(
      () => true,
      () => false,
    );
  }

  #settings(): Readonly<Record<string, string>> {
    const unsafe = this.#options.unsafeFast === true;
    return {
      listen_addresses: '',
      unix_socket_directories: this.directory,
      shared_buffers: '32MB',
      max_connections: '60',
      max_wal_size: '256MB',
      // Files in the data directory: nothing stays in /dev/shm after a kill.
      dynamic_shared_memory_type: 'mmap',
      fsync: unsafe ? 'off' : 'on',
      synchronous_commit: unsafe ? 'off' : 'on',
      full_page_writes: unsafe ? 'off' : 'on',
      ...this.#options.settings,
    };
  }
}

/** initdb and postgres refuse to run as root. */
function asUser(): string | undefined {
  return process.getuid?.() === 0 ? superuser : undefined;
}

function findBinaries(): string {
  const versions = existsSync(versionsDirectory) ? readdirSync(versionsDirectory) : [];
  const newest = versions
    .filter((version) => existsSync(join(versionsDirectory, version, 'bin', 'initdb')))
    .sort((left, right) => Number(right) - Number(left))
    .at(0);
  if (newest === undefined) throw new Error('PostgreSQL is missing: install the Debian package "postgresql"');
  return join(versionsDirectory, newest, 'bin');
}
