/** A process in a mount namespace of its own, with a copy of every mount of now: what a container looks like. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { ExecutionContext } from 'ava';

export async function holdMounts(t: ExecutionContext): Promise<() => Promise<void>> {
  const script = 'echo ready; exec cat';
  const child = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  const release = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  t.teardown(release);
  return release;
}
