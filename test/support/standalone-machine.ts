/**
 * The whole product as a process of its own, on real loop devices and mounts, in a directory of its own on this disk.
 * It can be killed at any moment and started again over what it left. Everything below its directory, and nothing else,
 * is taken down at the end.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { MountView } from '../../src/agent/mount-schema.ts';
import { ControllerClient } from '../../src/http/client.ts';
import { type Call, ClientTransport } from '../../src/http/client-transport.ts';
import { Daemon, until } from './daemon.ts';
import { loopsBelow, mountsBelow, requireKernel, takeDownMounts } from './linux-host-harness.ts';

const root = resolve(import.meta.dirname, '../..');

type Settings = Readonly<Record<string, string>>;

export class StandaloneMachine {
  readonly directory: string;
  readonly controller: ControllerClient;
  readonly agent: ClientTransport;
  /** The controller's socket, for what the typed client does not offer. */
  readonly transport: ClientTransport;
  readonly #settings: Settings;
  #daemon: Daemon | null = null;

  private constructor(directory: string, settings: Settings) {
    this.directory = directory;
    this.#settings = settings;
    this.controller = new ControllerClient({ endpoint: { socketPath: join(directory, 'controller.sock') } });
    this.transport = new ClientTransport({ endpoint: { socketPath: join(directory, 'controller.sock') } });
    this.agent = new ClientTransport({ endpoint: { socketPath: join(directory, 'agent.sock') }, maxTries: 1 });
  }

  /** Settings by the last part of their variable, over those of every test. */
  static async start(t: ExecutionContext, settings: Settings = {}): Promise<StandaloneMachine> {
    requireKernel();
    const machine = new StandaloneMachine(mkdtempSync('/var/tmp/fcr-standalone-'), settings);
    t.teardown(() => machine.#takeDown());
    await machine.start();
    return machine;
  }

  async start(): Promise<void> {
    this.#daemon = new Daemon(this.directory, {
      argv: ['env', ...this.#environment(), process.execPath, join(root, 'src/bin/fcr.ts'), 'standalone'],
      parentDeathSignal: 'KILL',
      logFile: join(this.directory, 'log'),
    });
    await until(() => this.#answers(), { what: 'standalone answers', timeoutMs: 60_000, everyMs: 20 });
  }

  async kill(): Promise<void> {
    this.#daemon?.signal('SIGKILL');
    await this.#daemon?.exited(20_000);
  }

  mountPath(name: string): string {
    return join(this.directory, 'mounts', name);
  }

  async mount(volume: string, path = this.mountPath(volume)): Promise<MountView> {
    const call: Call = { method: 'POST', path: '/v1/mounts', body: { volume, path }, repeatable: false };
    return (await this.agent.call(call)).body as MountView;
  }

  async unmount(id: string): Promise<void> {
    await this.agent.call({ method: 'DELETE', path: `/v1/mounts/${id}`, repeatable: false });
  }

  async mounts(): Promise<readonly MountView[]> {
    const call: Call = { method: 'GET', path: '/v1/mounts', repeatable: true };
    return ((await this.agent.call(call)).body as { readonly items: readonly MountView[] }).items;
  }

  /** Numbers of what is there for mounts: at the agent, in the kernel, at the controller, in the fabric. */
  async counts(): Promise<object> {
    const shown = mountsBelow(this.directory).filter((path) => path.startsWith(`${this.mountPath('')}`));
    const { items } = await this.controller.attachmentPage();
    return {
      records: (await this.mounts()).filter(({ state }) => state === 'mounted').length,
      unfinished: (await this.mounts()).filter(({ state }) => state !== 'mounted').length,
      mounts: shown.length,
      devices: loopsBelow(this.directory).length,
      attachments: items.filter(({ state }) => state === 'attached').length,
      otherAttachments: items.filter(({ state }) => state !== 'attached').length,
      links: linksBelow(join(this.directory, 'data', 'exports')),
    };
  }

  /** The counts when exactly this many volumes are mounted once each. */
  static ofMounted(count: number): object {
    const [records, mounts, devices, attachments, links] = [count, count, count, count, count];
    return { records, unfinished: 0, mounts, devices, attachments, otherAttachments: 0, links };
  }

  /** Everything that tells why it is not in order, for the message of a failure. */
  async report(): Promise<string> {
    const { items: attachments } = await this.controller.attachmentPage();
    const status = (await this.agent.call({ method: 'GET', path: '/v1/status', repeatable: true })).body;
    const there = { mounts: mountsBelow(this.directory), devices: loopsBelow(this.directory) };
    const all = { counts: await this.counts(), ...there, records: await this.mounts(), attachments, status };
    return `${JSON.stringify(all, null, 1)}\n${this.logTail}`;
  }

  get logTail(): string {
    return this.#daemon?.logTail ?? '';
  }

  #environment(): string[] {
    const settings = {
      DATA_DIR: join(this.directory, 'data'),
      SOCKET_DIRECTORY: this.directory,
      LISTEN: '127.0.0.1:0',
      HOST_MODE: 'linux',
      RECONCILE_ATTACHMENTS: '1s',
      DEFAULT_POOL_VOLUME_SIZE: '64MiB',
      DEFAULT_POOL_MIN_FREE: '2',
      LOG_LEVEL: 'warn',
      ...this.#settings,
    };
    return Object.entries(settings).map(([name, value]) => `FCR_${name}=${value}`);
  }

  async #answers(): Promise<boolean> {
    if (this.#daemon?.alive !== true) throw new Error(`standalone ended:\n${this.logTail}`);
    try {
      await this.mounts();
      return true;
    } catch {
      return false;
    }
  }

  async #takeDown(): Promise<void> {
    this.controller.close();
    this.agent.close();
    this.transport.close();
    await this.kill();
    takeDownMounts(this.directory);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function linksBelow(directory: string): number {
  return readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isSymbolicLink())
    .length;
}
