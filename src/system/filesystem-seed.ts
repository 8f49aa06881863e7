/**
 * What a new filesystem holds from the start: the directory `data`, which is all that a user of the volume ever sees.
 *
 * `mkfs.ext4 -d <seed>` copies it. Made at the first mount instead, it would cost every volume a journal commit at its
 * first mount and more at its first unmount. Its time of change is zero: so a host knows that nobody has used it yet,
 * and that owner and mode are still to be given.
 */
import { chmod, mkdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';

export const dataDirectoryName = 'data';
export const dataDirectoryMode = 0o755;

/** Makes the seed below `parent` and answers its path. Repeatable. */
export async function makeFilesystemSeed(parent: string): Promise<string> {
  const seed = join(parent, 'seed');
  const data = join(seed, dataDirectoryName);
  await mkdir(data, { recursive: true });
  await chmod(data, dataDirectoryMode);
  await utimes(data, 0, 0);
  return seed;
}
