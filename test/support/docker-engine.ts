/**
 * One real dockerd with everything of its own: data, sockets, cgroup, network namespace (nothing but loopback in it,
 * unless told otherwise). It shares the mount namespace, as engines do, and finds plugins in /run/docker/plugins by their
 * sockets' names. It never forgets one: those of ended tests are asked as well, and each of them is waited for. An engine
 * that needs none has a mount namespace of its own, without them.
 *
 * Processes are ended by pid: dockerd itself, and the shims and containers that outlive one that was killed.
 */
import assert from 'node:assert';
import { execFile } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { Daemon, signalPid, until } from './daemon.ts';
import { mountsBelow, quietly } from './linux-host-harness.ts';

const run = promisify(execFile);
const commandDeadlineMs = 140_000;
export const debianPath = '/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin';

export const image = 'fc/busybox:1';

/** Whatever runs functions at its end: a test, or a bench. */
export type Teardowns = Pick<ExecutionContext, 'teardown'>;

/**
 * `loopback`: a network namespace of its own, without bridges; `bridged`: the same with bridges, names and published
 * ports; `machine`: the machine's, without bridges, for images whose making needs a registry.
 */
export type EngineNetwork = 'loopback' | 'bridged' | 'machine';

export interface EngineOptions {
  readonly liveRestore?: boolean;
  readonly withoutPlugins?: boolean;
  readonly network?: EngineNetwork;
}

const pluginDirectory = '/run/docker/plugins';
/**
 * What is mounted on the machine later goes there too, if it is below something shared; and on to containers from there.
 * Volumes that are mounted at that moment are other tests': copies of their mounts would keep them from going.
 */
const withoutPlugins = [
  ...['unshare', '--mount', '--propagation', 'slave', 'sh', '-c'],
  `awk '/ - [a-z0-9]+ .dev.loop/ { print $5 }' /proc/self/mountinfo | tac | xargs -r umount --lazy; ` +
    `mount --make-rshared / && mount -t tmpfs none ${pluginDirectory} && exec "$@"`,
  'sh',
];

export class DockerEngine {
  readonly directory: string;
  readonly #liveRestore: boolean;
  readonly #withoutPlugins: boolean;
  #network: EngineNetwork;
  #daemon: Daemon | null = null;

  private constructor(options: EngineOptions) {
    const { liveRestore = false, withoutPlugins = false, network = 'loopback' } = options;
    this.directory = mkdtempSync('/var/tmp/fcr-docker-');
    this.#liveRestore = liveRestore;
    this.#withoutPlugins = withoutPlugins;
    this.#network = network;
  }

  /** Up, and with the image. */
  static async start(t: Teardowns, options: EngineOptions = {}): Promise<DockerEngine> {
    for (const program of ['/usr/sbin/dockerd', '/usr/bin/docker', '/usr/bin/busybox']) {
      assert(existsSync(program), `${program} is missing: packages docker.io and busybox-static`);
    }
    const engine = new DockerEngine(options);
    t.teardown(() => engine.#takeDown());
    await engine.up();
    await engine.importImage(image, (root) => installBusybox(root));
    return engine;
  }

  get socketPath(): string {
    return join(this.directory, 'docker.sock');
  }

  get environment(): NodeJS.ProcessEnv {
    const { directory } = this;
    return { PATH: debianPath, HOME: directory, DOCKER_CONFIG: join(directory, 'config'), DOCKER_HOST: this.#host };
  }

  get #host(): string {
    return `unix://${this.socketPath}`;
  }

  /** What the command printed, without the last newline. */
  async docker(...words: readonly string[]): Promise<string> {
    return await this.command('/usr/bin/docker', words);
  }

  async command(program: string, words: readonly string[], cwd = this.directory): Promise<string> {
    const options = { env: this.environment, cwd, timeout: commandDeadlineMs, maxBuffer: 16 * 1024 ** 2 };
    try {
      return (await run(program, [...words], options)).stdout.trimEnd();
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const stderr = 'stderr' in error ? String(error.stderr).trim() : '';
      const printed = 'stdout' in error ? String(error.stdout).trim().split('\n').slice(-20).join('\n') : '';
      const reason = `${stderr === '' ? error.message : stderr}\n${printed}`.trimEnd();
      throw new Error(`${basename(program)} ${words.join(' ')}: ${reason}`);
    }
  }

  /** A container that ends by itself; what it printed. */
  async run(volume: string, script: string, ...options: readonly string[]): Promise<string> {
    return await this.docker('run', '--rm', '-v', `${volume}:/data`, ...options, image, 'sh', '-c', script);
  }

  async importImage(name: string, fill: (root: string) => void, ...changes: readonly string[]): Promise<void> {
    const root = join(this.directory, 'image');
    mkdirSync(root);
    fill(root);
    const archive = join(this.directory, 'image.tar');
    await this.command('/usr/bin/tar', ['-C', root, '-cf', archive, '.']);
    await this.docker('import', ...changes.flatMap((change) => ['--change', change]), archive, name);
    rmSync(root, { recursive: true });
    rmSync(archive);
  }

  async up(): Promise<void> {
    const at = (name: string) => join(this.directory, name);
    const flags = [
      ...['--data-root', at('root'), '--exec-root', at('exec'), '--pidfile', at('docker.pid'), '-H', this.#host],
      ...[`--iptables=${this.#network === 'bridged'}`, '--ip6tables=false', '--bridge=none'],
      ...['--storage-driver=overlay2'],
      ...['--exec-opt', 'native.cgroupdriver=cgroupfs', '--cgroup-parent', `/${this.#cgroup}`],
      ...(this.#liveRestore ? ['--live-restore'] : []),
    ];
    const inOwnNetwork = ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh'];
    const network = this.#network === 'machine' ? [] : inOwnNetwork;
    mkdirSync(pluginDirectory, { recursive: true });
    const view = this.#withoutPlugins ? withoutPlugins : [];
    this.#daemon = new Daemon(this.directory, {
      argv: ['env', `PATH=${debianPath}`, ...view, ...network, 'dockerd', ...flags],
      parentDeathSignal: 'KILL',
      logFile: at('dockerd.log'),
    });
    await until(() => this.#answers(), { what: 'dockerd answers', timeoutMs: 60_000, everyMs: 50 });
  }

  /** Ends dockerd, and starts it over the same images elsewhere. */
  async moveTo(network: EngineNetwork): Promise<void> {
    await this.#end();
    this.#network = network;
    await this.up();
  }

  /** What runs a command in the network of dockerd. */
  get inItsNetwork(): readonly string[] {
    assert(this.#daemon !== null);
    return ['nsenter', `--net=/proc/${this.#daemon.pid}/ns/net`];
  }

  /** SIGKILL: containers and their shims stay. */
  async kill(): Promise<void> {
    this.#daemon?.signal('SIGKILL');
    assert(await this.#daemon?.exited(20_000), 'dockerd does not end');
    // Its containerd dies with it. Where nobody reaps orphans, the pids would count as running for ever.
    for (const file of ['docker.pid', 'exec/containerd/containerd.pid']) {
      rmSync(join(this.directory, file), { force: true });
    }
  }

  /** As with its machine: what dockerd has started and mounted is gone as well, and all that it keeps in memory. */
  async goDown(): Promise<void> {
    await this.kill();
    await endAllOf(this.directory, this.#cgroup);
    for (const path of mountsBelow(this.directory).reverse()) quietly('umount', ['-l', path]);
    rmSync(join(this.directory, 'exec'), { recursive: true, force: true });
  }

  get log(): string {
    return readFileSync(join(this.directory, 'dockerd.log'), 'utf8');
  }

  get #cgroup(): string {
    return basename(this.directory);
  }

  async #answers(): Promise<boolean> {
    assert(this.#daemon?.alive === true, `dockerd ended:\n${this.#daemon?.logTail}`);
    return await this.docker('info').then(
      () => true,
      () => false,
    );
  }

  async #end(): Promise<void> {
    this.#daemon?.signal('SIGTERM');
    if ((await this.#daemon?.exited(20_000)) === false) this.#daemon?.signal('SIGKILL');
  }

  async #takeDown(): Promise<void> {
    if (this.#daemon?.alive === true) {
      await this.docker('swarm', 'leave', '--force').catch(() => undefined);
      const containers = await this.docker('ps', '-aq').catch(() => '');
      if (containers !== '') await this.docker('rm', '-f', ...containers.split('\n')).catch(() => undefined);
      await this.#end();
    }
    await endAllOf(this.directory, this.#cgroup);
    for (const path of mountsBelow(this.directory).reverse()) quietly('umount', ['-l', path]);
    removeCgroups(this.#cgroup);
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 3 });
  }
}

export function installBusybox(root: string): void {
  for (const directory of ['bin', 'etc', 'tmp']) mkdirSync(join(root, directory), { recursive: true });
  chmodSync(join(root, 'tmp'), 0o1777);
  copyFileSync('/usr/bin/busybox', join(root, 'bin/busybox'));
  for (const applet of [
    'sh',
    'cat',
    'echo',
    'ls',
    'sleep',
    'stat',
    'id',
    'sync',
    'dd',
    'touch',
    'rm',
    'mkdir',
    'test',
    'true',
  ]) {
    symlinkSync('busybox', join(root, 'bin', applet));
  }
}

/** Whatever has the directory on its command line (shims, runc, containerd) or is in the cgroup (containers). */
export async function endAllOf(directory: string, cgroup: string): Promise<void> {
  const left = () =>
    readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid && belongs(name));
  const belongs = (pid: string) =>
    textOf(`/proc/${pid}/cmdline`).includes(`${directory}/`) || textOf(`/proc/${pid}/cgroup`).includes(`/${cgroup}`);
  const endAll = () => {
    const pids = left();
    for (const pid of pids) signalPid(Number(pid), 'SIGKILL');
    return pids.length === 0;
  };
  await until(endAll, { what: `no process of ${directory} is left`, timeoutMs: 20_000, everyMs: 50 });
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

export function removeCgroups(name: string): void {
  for (const controller of readdirSync('/sys/fs/cgroup')) removeTree(join('/sys/fs/cgroup', controller, name));
}

/** A cgroup's files go with it; only directories are removed, innermost first. */
function removeTree(path: string): void {
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(join(path, entry.name));
  }
  try {
    rmdirSync(path);
  } catch {
    // A process that is just ending keeps it for a moment; an empty cgroup harms nobody.
  }
}
