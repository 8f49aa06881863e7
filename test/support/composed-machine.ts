/**
 * A machine on which docker-compose runs the project's compose file, as docs/OPERATING.md has it, and an agent beside it.
 * dockerd, the compose file's networks and its published port are in a network namespace of their own.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { ControllerClient } from '../../src/http/client.ts';
import { projectRoot, readText } from '../tidy/source-tree.ts';
import { ProcessAgent } from './controlled-machine.ts';
import { Daemon, signalPid, until } from './daemon.ts';
import type { DockerEngine } from './docker-engine.ts';
import { markedBlocks, scriptOf } from './document-commands.ts';
import { loopsBelow, mountsBelow, quietly } from './linux-host-harness.ts';
import { importPostgresImage, importRedisImage } from './service-images.ts';

const publishedPort = 8080;
const project = 'fc-redirect';
const postgresImage = 'fc/postgres-service:1';
const redisImage = 'fc/redis-service:1';
/** With characters that mean something in a URL. */
const password = 'ch@ose/one:your?own';

export type Service = 'controller' | 'worker' | 'postgres' | 'redis';
const services: readonly Service[] = ['controller', 'worker', 'postgres', 'redis'];

export class ComposedMachine {
  readonly engine: DockerEngine;
  /** The project's directory, as a checkout has it. */
  readonly directory: string;
  readonly #relay: string;
  #relaying: Daemon | null = null;
  #client: ControllerClient | null = null;
  #agent: ProcessAgent | null = null;

  private constructor(engine: DockerEngine) {
    this.engine = engine;
    this.directory = join(engine.directory, project);
    this.#relay = join(engine.directory, 'relay/socket');
  }

  /** On an engine that has built the project's image on the base image; nothing is started yet. */
  static async make(t: ExecutionContext, engine: DockerEngine, baseImage: string): Promise<ComposedMachine> {
    const machine = new ComposedMachine(engine);
    t.teardown(() => machine.#takeDown());
    await importRedisImage(engine, redisImage);
    await importPostgresImage(engine, postgresImage);
    machine.#makeDataDirectory();
    await engine.moveTo('bridged');
    machine.#layOut({
      FCR_BASE_IMAGE: baseImage,
      FCR_POSTGRES_IMAGE: postgresImage,
      FCR_REDIS_IMAGE: redisImage,
      FCR_DATA_DIR: machine.dataDirectory,
    });
    return machine;
  }

  get dataDirectory(): string {
    return join(this.engine.directory, 'data');
  }

  /** The marked commands of docs/OPERATING.md: started, ready, and with a token for the agent. */
  async start(): Promise<void> {
    const commands = scriptOf(markedBlocks('docs/OPERATING.md'));
    const script = commands.replaceAll('/etc/fc-redirect', this.#tokens).replace('choose-one', password);
    await this.#inItsNetwork('bash', ['-x', '-c', script]);
    const token = await this.fcr('token', 'create', 'test', '--role', 'admin', '--quiet');
    this.#relaying = this.#startRelay();
    this.#client = new ControllerClient({ endpoint: { socketPath: this.#relay }, token });
    this.#agent = this.#newAgent();
    await this.#agent.start();
  }

  async fcr(...words: readonly string[]): Promise<string> {
    return await this.compose('exec', '-T', 'controller', './fcr', ...words);
  }

  /** By the port that the compose file publishes. */
  get client(): ControllerClient {
    if (this.#client === null) throw new Error('not started');
    return this.#client;
  }

  get agent(): ProcessAgent {
    if (this.#agent === null) throw new Error('not started');
    return this.#agent;
  }

  async compose(...words: readonly string[]): Promise<string> {
    return await this.#inItsNetwork('/usr/bin/docker-compose', words);
  }

  /** Kills its first process, as the kernel would: the engine has not been told to stop it. Resolves once it is up again. */
  async crash(service: Service): Promise<void> {
    const before = await this.#pidOf(service);
    signalPid(before, 'SIGKILL');
    const isAgain = async () => ![0, before].includes(await this.#pidOf(service));
    await until(isAgain, { what: `${service} is started again`, timeoutMs: 30_000, everyMs: 50 });
  }

  /** Over the published port, for the test and for the agent. */
  async isReady(): Promise<void> {
    const isUp = async () => (await this.client.readiness()).status === 'ready';
    const isReached = async () => (await this.agent.status()).controller.reachable === true;
    const areBoth = async () => (await isUp().catch(() => false)) && (await isReached());
    await until(areBoth, { what: 'the controller is reached', timeoutMs: 60_000, everyMs: 100 });
  }

  async areHealthy(): Promise<void> {
    const states = async () => await Promise.all(services.map((name) => this.#inspect(name, '.State.Health.Status')));
    const areAll = async () => (await states()).every((state) => state === 'healthy');
    await until(areAll, { what: 'every service is healthy', timeoutMs: 60_000, everyMs: 200 });
  }

  async logs(): Promise<string> {
    return await this.compose('logs', '--no-color', '--tail', '20').catch(String);
  }

  async #pidOf(service: Service): Promise<number> {
    return Number(await this.#inspect(service, '.State.Pid'));
  }

  async #inspect(service: Service, field: string): Promise<string> {
    return await this.engine.docker('inspect', '-f', `{{${field}}}`, `${project}_${service}_1`);
  }

  get #agentDirectory(): string {
    return join(this.engine.directory, 'agent');
  }

  get #tokens(): string {
    return join(this.engine.directory, 'etc');
  }

  #within(...words: readonly string[]): [string, ...string[]] {
    const [program = '', ...rest] = [...this.engine.inItsNetwork, ...words];
    return [program, ...rest];
  }

  async #inItsNetwork(program: string, words: readonly string[]): Promise<string> {
    const [first, ...rest] = this.#within(program, ...words);
    return await this.engine.command(first, rest, this.directory);
  }

  /** What the image is made of, and what runs it: not the checkout itself, which a file named `.env` would change. */
  #layOut(settings: Readonly<Record<string, string>>): void {
    const allowed = readText('.dockerignore').match(/^!\S+/gm) ?? [];
    const files = ['Dockerfile', '.dockerignore', 'docker-compose.yml', ...allowed.map((line) => line.slice(1))];
    for (const name of files) cpSync(join(projectRoot, name), join(this.directory, name), { recursive: true });
    const settingLines = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`);
    writeFileSync(join(this.directory, '.env'), settingLines.join(''));
  }

  /** Mounts below it are seen elsewhere, as everywhere on a machine with systemd. */
  #makeDataDirectory(): void {
    mkdirSync(this.dataDirectory);
    execFileSync('mount', ['--bind', '--make-private', this.dataDirectory, this.dataDirectory]);
    execFileSync('mount', ['--make-shared', this.dataDirectory]);
  }

  #startRelay(): Daemon {
    const directory = join(this.engine.directory, 'relay');
    mkdirSync(directory);
    const program = [process.execPath, join(import.meta.dirname, 'fixtures/relay.ts')];
    return new Daemon(directory, {
      argv: this.#within(...program, this.#relay, String(publishedPort)),
      parentDeathSignal: 'KILL',
      logFile: join(directory, 'log'),
    });
  }

  #newAgent(): ProcessAgent {
    mkdirSync(this.#agentDirectory);
    return new ProcessAgent({
      directory: this.#agentDirectory,
      server: `http://127.0.0.1:${publishedPort}`,
      data: this.dataDirectory,
      within: this.engine.inItsNetwork,
      settings: {
        DATA_DIR: this.dataDirectory,
        HOST_NAME: hostname(),
        TOKEN_FILE: join(this.#tokens, 'agent.token'),
      },
    });
  }

  async #takeDown(): Promise<void> {
    this.#client?.close();
    await this.#agent?.end();
    this.#relaying?.signal('SIGKILL');
    const ours = [this.dataDirectory, this.#agentDirectory].flatMap((directory) => mountsBelow(directory));
    for (const path of ours.reverse()) quietly('umount', [path]);
    for (const device of loopsBelow(this.dataDirectory)) quietly('losetup', ['-d', device]);
    quietly('umount', [this.dataDirectory]);
  }
}
