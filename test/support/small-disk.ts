/** A disk of its own that a test may fill. What is mounted from it is taken down with it. */
import { execFileSync } from 'node:child_process';
import { closeSync, fsyncSync, mkdirSync, openSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { quietly, takeDownMounts } from './linux-host-harness.ts';
import { scratchDirectory } from './local-storage-node.ts';

/** Answers where it is. */
export async function smallDisk(t: ExecutionContext, size = '200M'): Promise<string> {
  const directory = await scratchDirectory(t);
  const [image, disk] = [join(directory, 'image'), join(directory, 'disk')];
  mkdirSync(disk);
  execFileSync('truncate', [`--size=${size}`, image]);
  execFileSync('mkfs.ext4', ['-q', '-F', '-b', '4096', '-m', '0', image]);
  execFileSync('mount', ['-o', 'loop', image, disk]);
  t.teardown(() => {
    takeDownMounts(disk);
    quietly('umount', [disk]);
  });
  return disk;
}

/** As whoever writes into a sparse medium: every block that is left. What was set aside for metadata is free after a flush. */
export function fill(disk: string): void {
  const fd = openSync(join(disk, 'fill'), 'a');
  try {
    do {
      for (const bytes of [1024 * 1024, 4096]) writeAll(fd, Buffer.alloc(bytes, 'x'));
      fsyncSync(fd);
    } while (statfsSync(disk).bavail > 0);
  } finally {
    closeSync(fd);
  }
}

function writeAll(fd: number, block: Buffer): void {
  try {
    while (writeSync(fd, block) > 0);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
  }
}
