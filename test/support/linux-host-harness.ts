/**
 * A Linux host on real loop devices and mounts, in a directory of its own on ext4. Everything below that directory, and
 * nothing else, is taken down at the end, also when a test fails.
 */
import assert from 'node:assert';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  accessSync,
  closeSync,
  constants,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import type { DeviceTarget, Host, MountFound } from '../../src/host/host.ts';
import { LinuxHost, type LinuxHostOptions } from '../../src/host/linux/linux-host.ts';
import { ExportedMedia, type HostHarness, targetOf } from './host-harness.ts';

/** `slave`: what services of systemd have; `private`: what containers have. */
type Propagation = 'private' | 'slave';

export class LinuxHostHarness implements HostHarness {
  readonly directory: string;
  readonly media: ExportedMedia;
  #options: LinuxHostOptions;
  readonly #children = new Set<ChildProcess>();
  #host: LinuxHost | null = null;
  #targets = 0;

  private constructor(overrides: Partial<LinuxHostOptions>) {
    this.directory = mkdtempSync('/var/tmp/fcr-host-');
    this.media = new ExportedMedia(this.directory);
    const { exportsDirectory, volumesDirectory } = this.media;
    this.#options = { exportsDirectory, volumesDirectory, stateDirectory: join(this.directory, 'state'), ...overrides };
  }

  static async make(t: ExecutionContext, overrides: Partial<LinuxHostOptions> = {}): Promise<LinuxHostHarness> {
    requireKernel();
    const harness = new LinuxHostHarness(overrides);
    t.teardown(() => harness.#takeDown());
    await harness.restart();
    return harness;
  }

  get host(): LinuxHost {
    assert(this.#host !== null);
    return this.#host;
  }

  makeTarget(overrides: Partial<DeviceTarget> = {}): DeviceTarget {
    this.#targets += 1;
    const target = targetOf(this.#targets, overrides);
    makeSparseFile(this.media.fileOf(target), target.sizeBytes);
    this.media.export(target);
    return target;
  }

  nextOwner(target: DeviceTarget): DeviceTarget {
    const { mediaGeneration, epoch, attachmentId } = target;
    const next = {
      ...target,
      mediaGeneration: mediaGeneration + 1,
      epoch: epoch + 1,
      attachmentId: `${attachmentId}n`,
    };
    rmSync(this.media.fileOf(target), { force: true });
    makeSparseFile(this.media.fileOf(next), next.sizeBytes);
    this.media.export(next);
    return next;
  }

  redirectPaths(target: DeviceTarget, other: DeviceTarget): void {
    this.media.export(target, this.media.fileOf(other));
  }

  unexport(target: DeviceTarget): void {
    this.media.unexport(target);
  }

  mountPath(name: string): string {
    return join(this.directory, 'mounts', name);
  }

  async restart(): Promise<Host> {
    await this.#host?.close();
    this.#host = await LinuxHost.open(this.#options);
    return this.#host;
  }

  /** From the next restart on, the kernel's files are read below this directory. */
  useRoot(root: string): void {
    this.#options = { ...this.#options, root };
  }

  /** From now on its mounts are copied to namespaces that follow ours, as everywhere on a machine with systemd. */
  shareMounts(): void {
    for (const name of ['state/mnt', 'mounts']) {
      const path = join(this.directory, name);
      mkdirSync(path, { recursive: true });
      execFileSync('mount', ['--bind', '--make-private', path, path]);
      execFileSync('mount', ['--make-shared', path]);
    }
  }

  /**
   * A process in a mount namespace of its own, with a copy of every mount below the directory; it ends when this process
   * does. Other tests' mounts are let go of at once: they must be able to unmount them.
   */
  holdElsewhere(): Promise<() => Promise<void>> {
    return this.#hold('private');
  }

  /** The same in a namespace that follows ours from now on. */
  followElsewhere(): Promise<() => Promise<void>> {
    return this.#hold('slave');
  }

  async #hold(propagation: Propagation): Promise<() => Promise<void>> {
    const child = spawn('unshare', ['--mount', ...this.#holder(propagation)], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#children.add(child);
    await once(child.stdout, 'data');
    return () => this.#end(child);
  }

  /** A mount namespace without any process, kept by the file `pinned` on a private mount. */
  pinNamespace(pinned: string): void {
    execFileSync('unshare', [`--mount=${pinned}`, ...this.#holder('private'), '--leave'], { stdio: 'ignore' });
  }

  /** The rest of an unshare(1) command. */
  #holder(propagation: Propagation): string[] {
    const script = fileURLToPath(new URL('./fixtures/hold-mounts.ts', import.meta.url));
    return ['--propagation', propagation, process.execPath, script, this.directory];
  }

  /** Loop devices (`/dev/loopN`) that exist on files below the directory, as the kernel says. */
  loopDevices(): string[] {
    return loopsBelow(this.directory);
  }

  mountPoints(): string[] {
    return mountsBelow(this.directory);
  }

  /** What the host finds in the namespaces that this harness has made. */
  async mountsElsewhere(): Promise<readonly MountFound[]> {
    const holders = [...this.#children].map(({ pid }) => `process ${pid} `);
    const { mounts } = await this.host.inventory();
    return mounts.filter(({ holder }) => holders.some((own) => holder?.startsWith(own)));
  }

  async #end(child: ChildProcess): Promise<void> {
    this.#children.delete(child);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async #takeDown(): Promise<void> {
    for (const child of this.#children) await this.#end(child);
    await this.#host?.close();
    for (const path of mountsBelow(this.directory).reverse()) quietly('umount', [path]);
    for (const device of loopsBelow(this.directory)) quietly('losetup', ['-d', device]);
    rmSync(this.directory, { recursive: true });
  }
}

/** What the tests of the group `kernel` need; missing is a failure that names it. */
export function requireKernel(): void {
  const missing = [];
  if (process.getuid?.() !== 0) missing.push('root');
  if (!isThere('/dev/loop-control')) missing.push('/dev/loop-control (kernel module loop)');
  for (const program of ['mkfs.ext4', 'mkfs.xfs', 'unshare', 'umount', 'losetup']) {
    if (!['/usr/sbin', '/usr/bin', '/sbin', '/bin'].some((path) => isThere(join(path, program)))) missing.push(program);
  }
  if (missing.length > 0) throw new Error(`these kernel tests need: ${missing.join(', ')}`);
}

function isThere(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

export function makeSparseFile(path: string, sizeBytes: number): void {
  const descriptor = openSync(path, 'w', 0o600);
  ftruncateSync(descriptor, sizeBytes);
  closeSync(descriptor);
}

export function loopsBelow(directory: string): string[] {
  return readdirSync('/sys/block')
    .filter((name) => name.startsWith('loop') && backingFile(name).startsWith(`${directory}/`))
    .map((name) => `/dev/${name}`);
}

function backingFile(name: string): string {
  try {
    return readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8');
  } catch {
    return '';
  }
}

export function mountsBelow(directory: string): string[] {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return lines.map((line) => line.split(' ')[4] ?? '').filter((path) => path.startsWith(`${directory}/`));
}

export function takeDownMounts(directory: string): void {
  for (const path of mountsBelow(directory).reverse()) quietly('umount', [path]);
  for (const device of loopsBelow(directory)) quietly('losetup', ['-d', device]);
}

export function quietly(program: string, args: readonly string[]): void {
  try {
    execFileSync(program, args, { stdio: 'ignore' });
  } catch {
    // What a failed test left behind may already be gone.
  }
}
