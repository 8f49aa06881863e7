/**
 * A controller and an agent as processes of their own on this machine: real loop devices and mounts, TCP between them,
 * and a token of the host. Everything below its directory, and nothing else, is taken down at the end.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { AgentStatus } from '../../src/agent/agent.ts';
import type { MountView } from '../../src/agent/mount-schema.ts';
import { ControllerClient } from '../../src/http/client.ts';
import { type Call, ClientTransport } from '../../src/http/client-transport.ts';
import { FcrProcess } from './fcr-process.ts';
import { requireKernel, takeDownMounts } from './linux-host-harness.ts';

export const hostName = 'node1';

type Settings = Readonly<Record<string, string>>;

export class ControlledMachine {
  readonly directory: string;
  readonly controller: FcrProcess;
  /** Over the controller's socket, as its administrator. */
  readonly client: ControllerClient;
  readonly #port: number;
  readonly #agents: ProcessAgent[] = [];

  private constructor(directory: string, port: number, settings: Settings) {
    this.directory = directory;
    this.#port = port;
    this.client = new ControllerClient({ endpoint: { socketPath: join(directory, 'controller.sock') } });
    this.controller = new FcrProcess({
      directory: made(join(directory, 'controller')),
      words: ['controller'],
      settings: {
        DATA_DIR: this.controllerData,
        SOCKET_DIRECTORY: directory,
        LISTEN: `127.0.0.1:${port}`,
        DEFAULT_POOL_VOLUME_SIZE: '64MiB',
        DEFAULT_POOL_MIN_FREE: '2',
        LOG_LEVEL: 'warn',
        ...settings,
      },
    });
  }

  /** Settings of the controller by the last part of their variable, over those of every test. */
  static async start(t: ExecutionContext, settings: Settings = {}): Promise<ControlledMachine> {
    requireKernel();
    const machine = new ControlledMachine(mkdtempSync('/var/tmp/fcr-controlled-'), await freePort(), settings);
    t.teardown(() => machine.#takeDown());
    await machine.startController();
    return machine;
  }

  startController(): Promise<void> {
    return this.controller.start(() => this.client.poolList());
  }

  get controllerData(): string {
    return join(this.directory, 'controller', 'data');
  }

  /** An agent with a token of the host, not running yet. */
  async agent(
    name: string,
    options: { readonly within?: readonly string[]; token?: string; readonly settings?: Settings } = {},
  ): Promise<ProcessAgent> {
    const directory = made(join(this.directory, name));
    const token = options.token ?? (await this.token(`agent-${name}`));
    writeFileSync(join(directory, 'token'), `${token}\n`, { mode: 0o600 });
    const { within, settings = {} } = options;
    const server = `http://127.0.0.1:${this.#port}`;
    const agent = new ProcessAgent({
      directory,
      server,
      data: this.controllerData,
      settings,
      ...(within === undefined ? {} : { within }),
    });
    this.#agents.push(agent);
    return agent;
  }

  /** An agent that serves engines at the socket and may make volumes for them, not running yet. */
  async agentForEngines(socketPath: string): Promise<ProcessAgent> {
    const tokenFile = join(this.directory, 'operator.token');
    const { secret } = await this.client.tokenCreate({ name: 'engines', role: 'operator' });
    writeFileSync(tokenFile, `${secret}\n`, { mode: 0o600 });
    return await this.agent('agent', { settings: { DOCKER_SOCKET: socketPath, DOCKER_TOKEN_FILE: tokenFile } });
  }

  async token(name: string): Promise<string> {
    const { secret } = await this.client.tokenCreate({ name, role: 'host', host: hostName });
    return secret ?? '';
  }

  async #takeDown(): Promise<void> {
    this.client.close();
    for (const agent of this.#agents) await agent.end();
    await this.controller.kill();
    takeDownMounts(this.directory);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export interface ProcessAgentOptions {
  readonly directory: string;
  readonly server: string;
  /** The data directory of the controller's storage node. */
  readonly data: string;
  /** Without FCR_; over those of every agent. */
  readonly settings?: Settings;
  readonly within?: readonly string[];
}

export class ProcessAgent {
  readonly directory: string;
  readonly process: FcrProcess;
  readonly api: ClientTransport;

  constructor({ directory, server, data, settings = {}, within = [] }: ProcessAgentOptions) {
    this.directory = directory;
    this.api = new ClientTransport({ endpoint: { socketPath: join(directory, 'agent.sock') }, maxTries: 1 });
    this.process = new FcrProcess({
      directory,
      words: ['agent'],
      within,
      settings: {
        DATA_DIR: join(directory, 'data'),
        SOCKET_DIRECTORY: directory,
        SERVER: server,
        TOKEN_FILE: join(directory, 'token'),
        HOST_NAME: hostName,
        HOST_MODE: 'linux',
        HOST_EXPORTS_DIRECTORY: join(data, 'exports'),
        HOST_VOLUMES_DIRECTORY: join(data, 'volumes'),
        RECONCILE_ATTACHMENTS: '1s',
        LOG_LEVEL: 'warn',
        ...settings,
      },
    });
  }

  start(): Promise<void> {
    return this.process.start(() => this.status());
  }

  async end(): Promise<void> {
    this.api.close();
    await this.process.kill();
  }

  async status(): Promise<AgentStatus> {
    return (await this.#get('/v1/status')) as AgentStatus;
  }

  async mounts(): Promise<readonly MountView[]> {
    return ((await this.#get('/v1/mounts')) as { readonly items: readonly MountView[] }).items;
  }

  async metrics(): Promise<string> {
    return String(await this.#get('/metrics'));
  }

  async mount(volume: string): Promise<MountView> {
    const body = { volume, path: join(this.directory, 'mounts', volume) };
    return (await this.api.call({ method: 'POST', path: '/v1/mounts', body, repeatable: false })).body as MountView;
  }

  async unmount(id: string): Promise<void> {
    await this.api.call({ method: 'DELETE', path: `/v1/mounts/${id}`, repeatable: false });
  }

  async #get(path: string): Promise<unknown> {
    const call: Call = { method: 'GET', path, repeatable: true };
    return (await this.api.call(call)).body;
  }
}

function made(directory: string): string {
  mkdirSync(directory, { recursive: true });
  return directory;
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}
