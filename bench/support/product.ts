import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const startTimeoutMs = 60_000;
const stopTimeoutMs = 60_000;

export interface ProductOptions {
  /** `standalone`, or another mode of `fcr`. */
  readonly mode?: string;
  /** Environment of the product (`FCR_...`), over a data directory of its own and the simulated host. */
  readonly environment?: Readonly<Record<string, string>>;
  /** An existing data directory; otherwise a fresh one, removed at the end. */
  readonly dataDirectory?: string;
}

/** The product as its users run it: a process of its own, spoken to over its unix socket, which asks for no token. */
export class Product {
  readonly dataDirectory: string;
  readonly socketPath: string;
  /** From the start of the process to the first answer that it is ready. */
  startSeconds = 0;
  readonly #child: ChildProcess;
  readonly #ownsDirectory: boolean;
  readonly #logFile: string;

  private constructor(options: ProductOptions) {
    this.#ownsDirectory = options.dataDirectory === undefined;
    this.dataDirectory = options.dataDirectory ?? mkdtempSync(join(tmpdir(), 'fcr-bench-'));
    this.socketPath = join(this.dataDirectory, 'controller.sock');
    this.#logFile = join(this.dataDirectory, 'bench.log');
    const log = openSync(this.#logFile, 'a');
    const launcher = new URL('../../fcr', import.meta.url).pathname;
    this.#child = spawn(launcher, [options.mode ?? 'standalone'], {
      stdio: ['ignore', log, log],
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...this.#environment(), ...options.environment },
    });
    closeSync(log);
    process.once('exit', this.#endNow);
  }

  static async start(options: ProductOptions = {}): Promise<Product> {
    const startedAt = performance.now();
    const product = new Product(options);
    try {
      await product.#untilReady(startedAt + startTimeoutMs);
    } catch (error) {
      await product.stop();
      throw error;
    }
    product.startSeconds = (performance.now() - startedAt) / 1_000;
    return product;
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the product could not be started');
    return this.#child.pid;
  }

  /** Ends it as an operator would; by force only if it does not end. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    const deadline = performance.now() + stopTimeoutMs;
    while (this.#running && performance.now() < deadline) await sleep(20);
    this.#endNow();
    process.removeListener('exit', this.#endNow);
    if (this.#ownsDirectory) rmSync(this.dataDirectory, { recursive: true, force: true, maxRetries: 10 });
  }

  get #running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  readonly #endNow = (): void => {
    if (this.#running) this.#child.kill('SIGKILL');
  };

  #environment(): Record<string, string> {
    return {
      FCR_DATA_DIR: this.dataDirectory,
      FCR_SOCKET_DIRECTORY: this.dataDirectory,
      FCR_LISTEN: '127.0.0.1:0',
      FCR_HOST_MODE: 'simulated',
      FCR_STORAGE_NODE_KIND: 'simulated',
      FCR_LOG_LEVEL: 'warn',
      FCR_DEFAULT_POOL_CREATE: 'false',
    };
  }

  async #untilReady(deadline: number): Promise<void> {
    while ((await statusOf(this.socketPath, '/readyz')) !== 200) {
      if (!this.#running) throw new Error(`the product ended at its start:\n${this.#logTail()}`);
      if (performance.now() > deadline) throw new Error(`the product did not become ready:\n${this.#logTail()}`);
      await sleep(10);
    }
  }

  #logTail(): string {
    return readFileSync(this.#logFile, 'utf8').trim().split('\n').slice(-20).join('\n');
  }
}

/** Null while nothing listens. */
function statusOf(socketPath: string, path: string): Promise<number | null> {
  return new Promise((resolve) => {
    const asked = request({ socketPath, path, timeout: 1_000 }, (answer) => {
      answer.resume();
      answer.once('end', () => resolve(answer.statusCode ?? null));
    });
    asked.once('error', () => resolve(null));
    asked.once('timeout', () => asked.destroy());
    asked.end();
  });
}
