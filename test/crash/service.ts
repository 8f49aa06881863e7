/**
 * The product as a process of its own on a directory of its own, killed and started again. Everything below the root
 * directory, and nothing else, is taken down at the end: process, mounts, loop devices, files.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { loopsBelow, mountsBelow, quietly } from '../support/linux-host-harness.ts';
import { type Answer, type Call, call, fieldOf, listOf, textOf } from './call.ts';

const startTimeoutMs = 60_000;
const endTimeoutMs = 30_000;
const exitAttempts = 60;
const repository = new URL('../../', import.meta.url).pathname;

/** The shipped program. */
export const product: readonly string[] = [join(repository, 'src/bin/fcr.ts'), 'standalone'];

/** The same composition, with what a test may put into it. */
export const testProgram = join(repository, 'test/crash/planted/program.ts');

/** As short as the configuration allows, so that a whole reconcile takes a second. */
const intervals = {
  FCR_RECONCILE_RECOVERY: '250ms',
  FCR_RECONCILE_POOLS: '250ms',
  FCR_RECONCILE_WIPE: '250ms',
  FCR_RECONCILE_EXPORTS: '250ms',
  FCR_RECONCILE_ATTACHMENTS: '250ms',
  FCR_RECONCILE_HOSTS: '250ms',
  FCR_RECONCILE_RETENTION: '250ms',
};

/** The product refuses its own data: what it had acknowledged is not in its store any more. */
export class StoreBehindData extends Error {}

export interface ServiceOptions {
  /** Script and arguments; default: the shipped program. */
  readonly program?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

export class Service {
  readonly root: string;
  readonly dataDirectory: string;
  readonly mountDirectory: string;
  readonly hostName = 'here';
  readonly #options: ServiceOptions;
  readonly #socketDirectory: string;
  readonly #logFile: string;
  #environment: Readonly<Record<string, string>> = {};
  #child: ChildProcess | null = null;
  #exited: Promise<void> = Promise.resolve();

  constructor(options: ServiceOptions = {}) {
    this.#options = options;
    this.root = mkdtempSync('/var/tmp/fcr-crash-');
    this.dataDirectory = join(this.root, 'data');
    this.mountDirectory = join(this.root, 'mnt');
    this.#socketDirectory = join(this.root, 'run');
    this.#logFile = join(this.root, 'service.log');
    for (const path of [this.dataDirectory, this.mountDirectory, this.#socketDirectory]) mkdirSync(path);
    process.once('exit', this.#takeDownNow);
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get running(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get storeFile(): string {
    return join(this.dataDirectory, 'store.sqlite');
  }

  get volumesDirectory(): string {
    return join(this.dataDirectory, 'volumes');
  }

  /** The end of the product's log, for the message of a failure. */
  get logTail(): string {
    return readFileSync(this.#logFile, 'utf8').trim().split('\n').slice(-15).join('\n');
  }

  /** For every start from now on. */
  setEnvironment(environment: Readonly<Record<string, string>>): void {
    this.#environment = environment;
  }

  controller(what: Call): Promise<Answer | null> {
    return call(join(this.#socketDirectory, 'controller.sock'), what);
  }

  agent(what: Call): Promise<Answer | null> {
    return call(join(this.#socketDirectory, 'agent.sock'), what);
  }

  /** Returns as soon as there is a process; the kernel ends it with this one. */
  spawn(): void {
    const log = openSync(this.#logFile, 'a');
    const node = [process.execPath, '--disable-warning=ExperimentalWarning', ...(this.#options.program ?? product)];
    const env = { PATH: process.env.PATH, HOME: process.env.HOME, ...this.#settings() };
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...node], { stdio: ['ignore', log, log], env, cwd: '/' });
    closeSync(log);
    this.#child = child;
    this.#exited = new Promise((resolve) => {
      child.once('exit', () => resolve());
      child.once('error', () => resolve());
    });
  }

  async start(): Promise<void> {
    this.spawn();
    await this.untilReady();
  }

  /** Ready, with an agent that has reconciled once. */
  async untilReady(): Promise<void> {
    const deadline = performance.now() + startTimeoutMs;
    while (!(await this.#isReady())) {
      if (!this.running) throw new Error(`the product ended at its start:\n${this.logTail}`);
      if (performance.now() > deadline) throw new Error(`the product did not become ready:\n${this.logTail}`);
      await sleep(20);
    }
  }

  /** Ends as an operator would end it; what was compiled is then kept for the next starts. */
  async stop(): Promise<void> {
    this.#child?.kill('SIGTERM');
    await Promise.race([this.#exited, sleep(endTimeoutMs, null, { ref: false })]);
    await this.kill();
  }

  /** Resolves when the kernel has taken the process down, with everything that it had open. */
  async kill(): Promise<void> {
    this.#endNow();
    await Promise.race([this.#exited, sleep(endTimeoutMs, null, { ref: false })]);
    if (this.running) throw new Error(`process ${this.pid} did not end`);
  }

  /** Other processes that work on the data directory: programs which the product started. */
  helpers(): readonly string[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid && Number(name) !== this.pid)
      .filter((pid) => worksBelow(pid, this.dataDirectory))
      .map((pid) => `${pid}: ${commandLineOf(pid)}`);
  }

  async takeDown(): Promise<void> {
    await this.kill();
    process.removeListener('exit', this.#takeDownNow);
    const deadline = performance.now() + endTimeoutMs;
    while (this.helpers().length > 0 && performance.now() < deadline) await sleep(20);
    while (!this.#isReleased() && performance.now() < deadline) await sleep(20);
    rmSync(this.root, { recursive: true, force: true, maxRetries: 10 });
  }

  readonly #endNow = (): void => {
    if (this.running) this.#child?.kill('SIGKILL');
  };

  /** When this process ends before its time, nothing may stay behind either, and nothing can be waited for. */
  readonly #takeDownNow = (): void => {
    this.#endNow();
    const pause = new Int32Array(new SharedArrayBuffer(4));
    for (let left = exitAttempts; left > 0 && !this.#isReleased(); left -= 1) Atomics.wait(pause, 0, 0, 50);
    rmSync(this.root, { recursive: true, force: true, maxRetries: 10 });
  };

  /** Lets go of mounts and devices; true when there are none. */
  #isReleased(): boolean {
    for (const path of mountsBelow(this.root).reverse()) quietly('umount', [path]);
    for (const device of loopsBelow(this.root)) quietly('losetup', ['-d', device]);
    return mountsBelow(this.root).length + loopsBelow(this.root).length === 0;
  }

  async #isReady(): Promise<boolean> {
    const ready = await this.controller({ method: 'GET', path: '/readyz' });
    const reasons = listOf(ready?.body, 'unready').map((part) => textOf(part, 'reason'));
    const behind = reasons.find((reason) => reason.includes('fcr adopt'));
    if (behind !== undefined) throw new StoreBehindData(behind);
    if (ready?.status !== 200) return false;
    const status = await this.agent({ method: 'GET', path: '/v1/status' });
    const last = fieldOf(status?.body, 'lastReconcile');
    return last !== null && fieldOf(last, 'problem') === null;
  }

  #settings(): Record<string, string> {
    return {
      FCR_DATA_DIR: this.dataDirectory,
      FCR_SOCKET_DIRECTORY: this.#socketDirectory,
      FCR_LISTEN: '127.0.0.1:0',
      FCR_HOST_MODE: 'linux',
      FCR_HOST_NAME: this.hostName,
      FCR_STORAGE_NODE_NAME: 'files',
      FCR_DEFAULT_POOL_CREATE: 'false',
      FCR_HOST_SILENCE: '1h',
      FCR_LOG_LEVEL: 'info',
      NODE_COMPILE_CACHE: join(this.root, 'compiled'),
      ...intervals,
      ...this.#options.environment,
      ...this.#environment,
    };
  }
}

function worksBelow(pid: string, directory: string): boolean {
  if (commandLineOf(pid).includes(`${directory}/`)) return true;
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => targetOf(`/proc/${pid}/fd/${fd}`).startsWith(`${directory}/`));
  } catch {
    return false;
  }
}

function commandLineOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch {
    return '';
  }
}

function targetOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
