/** A real podman with everything of its own: storage, locks, configuration. It has no daemon; containers are in no network. */
import assert from 'node:assert';
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { debianPath, endAllOf, image, installBusybox } from './docker-engine.ts';
import { mountsBelow, quietly } from './linux-host-harness.ts';

const run = promisify(execFile);
const commandDeadlineMs = 60_000;

export class PodmanEngine {
  readonly directory = mkdtempSync('/var/tmp/fcr-podman-');

  /** With the image, and the volume plugin `fc` at the socket. */
  static async start(t: ExecutionContext, pluginSocket: string, name = image): Promise<PodmanEngine> {
    for (const program of ['/usr/bin/podman', '/usr/bin/busybox']) assert(existsSync(program), `${program} is missing`);
    const engine = new PodmanEngine();
    t.teardown(() => engine.#takeDown());
    writeFileSync(join(engine.directory, 'containers.conf'), configuration(pluginSocket));
    await engine.#importImage(name);
    return engine;
  }

  /** What the command printed, without the last newline. */
  async podman(...words: readonly string[]): Promise<string> {
    try {
      return (await this.#run(this.commandLine[0], [...this.commandLine.slice(1), ...words])).trimEnd();
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      throw new Error(`podman ${words.join(' ')}: ${'stderr' in error ? String(error.stderr).trim() : error.message}`);
    }
  }

  async run(volume: string, script: string, ...options: readonly string[]): Promise<string> {
    const place = ['--rm', '-v', `${volume}:/data`];
    return await this.podman('run', ...place, ...options, image, 'sh', '-c', script);
  }

  /** With everything that comes before the verb. */
  get commandLine(): readonly [string, ...string[]] {
    const at = (name: string) => join(this.directory, name);
    const places = ['--root', at('root'), '--runroot', at('run'), '--tmpdir', at('tmp'), '--storage-driver', 'overlay'];
    return ['/usr/bin/podman', ...places];
  }

  get configured(): NodeJS.ProcessEnv {
    return { CONTAINERS_CONF: join(this.directory, 'containers.conf') };
  }

  async #run(program: string, words: readonly string[]): Promise<string> {
    const env = { PATH: debianPath, HOME: this.directory, TMPDIR: this.directory, ...this.configured };
    return (await run(program, [...words], { env, cwd: this.directory, timeout: commandDeadlineMs })).stdout;
  }

  async #importImage(name: string): Promise<void> {
    const root = join(this.directory, 'image');
    mkdirSync(root);
    installBusybox(root);
    await this.#run('/usr/bin/tar', ['-C', root, '-cf', `${root}.tar`, '.']);
    await this.podman('import', `${root}.tar`, name);
  }

  async #takeDown(): Promise<void> {
    await this.podman('rm', '-f', '-a', '-t', '0').catch(() => undefined);
    await endAllOf(this.directory, basename(this.directory));
    for (const path of mountsBelow(this.directory).reverse()) quietly('umount', ['-l', path]);
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 3 });
  }
}

function configuration(pluginSocket: string): string {
  return `
[containers]
netns = "none"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
lock_type = "file"
events_logger = "none"
[engine.volume_plugins]
fc = "${pluginSocket}"
[network]
network_backend = "cni"
`;
}
