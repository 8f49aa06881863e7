/**
 * A container in the eyes of the kernel: a process in a mount namespace of its own, with copies of the mounts of when it
 * was started. While it lives, a volume that it copied is not gone, whatever umount says here.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

/** Mounts of others are let go at once: their owners wait for them too. */
const script = `
for mount in $(awk -v root="$1/" '/\\/dev\\/loop/ && index($5, root) != 1 { print $5 }' /proc/self/mountinfo | tac); do
  umount "$mount" 2>/dev/null
done
echo ready
exec cat`;

export class Container {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#ended = once(child, 'exit');
  }

  static async start(root: string): Promise<Container> {
    const command = ['--pdeathsig', 'KILL', 'unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh'];
    const child = spawn('setpriv', [...command, root], { stdio: ['pipe', 'pipe', 'ignore'] });
    const container = new Container(child);
    await Promise.race([once(child.stdout, 'data'), container.#ended]);
    return container;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async end(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}
