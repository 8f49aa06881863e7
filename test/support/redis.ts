import { accessSync, constants, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { Redis } from 'ioredis';
import { Daemon, daemonDirectory, removeDaemonDirectory, until } from './daemon.ts';

export interface RedisServerOptions {
  /** Also listen on a free port of 127.0.0.1, kept over restarts. */
  readonly port?: boolean;
  readonly maxMemoryPolicy?: string;
  /** Further `redis.conf` directives. */
  readonly directives?: Readonly<Record<string, string>>;
}

/**
 * A real redis-server for one test file. Its append-only file is written to the kernel before a command is answered,
 * so `kill()` + `restart()` keeps what was answered; `restart({ empty: true })` is a Redis that lost its data.
 */
export class RedisServer {
  readonly directory: string;
  readonly socketPath: string;
  readonly port: number | null;
  readonly #options: RedisServerOptions;
  readonly #program: string;
  #daemon: Daemon | null = null;

  private constructor(options: RedisServerOptions, program: string, port: number | null) {
    this.#options = options;
    this.#program = program;
    this.port = port;
    this.directory = daemonDirectory('redis');
    this.socketPath = join(this.directory, 'redis.sock');
  }

  static async start(options: RedisServerOptions = {}): Promise<RedisServer> {
    const program = findRedis();
    const server = new RedisServer(options, program, options.port ? await freePort() : null);
    try {
      await server.#run();
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  /** `redis+unix` in the spelling of the configuration, or `redis://` where there is a port. */
  get url(): string {
    return this.port === null ? `unix://${this.socketPath}` : `redis://127.0.0.1:${this.port}`;
  }

  get pid(): number | null {
    return this.#daemon?.pid ?? null;
  }

  /** SIGKILL; nothing of it runs any more when this resolves. */
  async kill(): Promise<void> {
    const daemon = this.#daemon;
    if (daemon === null) return;
    this.#daemon = null;
    daemon.signal('SIGKILL');
    await daemon.exited(10_000);
    rmSync(this.socketPath, { force: true });
  }

  async restart({ empty = false }: { readonly empty?: boolean } = {}): Promise<void> {
    await this.kill();
    if (empty) this.#removeData();
    await this.#run();
  }

  /** It stays connected and does not answer. */
  pause(): void {
    this.#daemon?.signal('SIGSTOP');
  }

  resume(): void {
    this.#daemon?.signal('SIGCONT');
  }

  async flush(): Promise<void> {
    await this.command('FLUSHALL');
  }

  /** One command over a connection of its own. */
  async command(name: string, ...args: readonly (string | number)[]): Promise<unknown> {
    const client = new Redis({
      path: this.socketPath,
      lazyConnect: true,
      maxRetriesPerRequest: 0,
      retryStrategy: null,
    });
    client.on('error', () => undefined);
    try {
      await client.connect();
      return await client.call(name, ...args);
    } finally {
      client.disconnect();
    }
  }

  async close(): Promise<void> {
    await this.kill();
    removeDaemonDirectory(this.directory);
  }

  async #run(): Promise<void> {
    const daemon = new Daemon(this.directory, {
      argv: [this.#program, ...this.#arguments()],
      parentDeathSignal: 'KILL',
      logFile: join(this.directory, 'log'),
    });
    this.#daemon = daemon;
    await until(() => !daemon.alive || this.#answers(), { what: 'redis-server answers PING' });
    if (!daemon.alive) throw new Error(`redis-server ended at its start:\n${daemon.logTail}`);
  }

  async #answers(): Promise<boolean> {
    return this.command('PING').then(
      () => true,
      () => false,
    );
  }

  #arguments(): string[] {
    const directives: Record<string, string> = {
      dir: this.directory,
      unixsocket: this.socketPath,
      port: String(this.port ?? 0),
      bind: '127.0.0.1',
      save: '',
      appendonly: 'yes',
      appendfsync: 'no',
      'maxmemory-policy': this.#options.maxMemoryPolicy ?? 'noeviction',
      ...this.#options.directives,
    };
    return Object.entries(directives).flatMap(([name, value]) => [`--${name}`, value]);
  }

  #removeData(): void {
    for (const name of readdirSync(this.directory)) {
      if (name !== 'log') rmSync(join(this.directory, name), { recursive: true, force: true });
    }
  }
}

function findRedis(): string {
  for (const directory of [...(process.env.PATH ?? '').split(delimiter), '/usr/bin', '/usr/local/bin']) {
    const program = join(directory, 'redis-server');
    try {
      accessSync(program, constants.X_OK);
      return program;
    } catch {
      // Looked for in the next directory.
    }
  }
  throw new Error('redis-server is missing: install the Debian package "redis-server"');
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}
