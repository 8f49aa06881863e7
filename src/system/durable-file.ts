/**
 * Small files that survive a power cut: written beside their name, fsynced, renamed, and the directory fsynced.
 *
 * Relies on rename(2) being atomic within a directory. Without the last fsync a power cut may bring the old content
 * (or absence) back after the caller was told otherwise.
 */
import { statSync } from 'node:fs';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { Failure } from '../domain/errors.ts';
import { makeDirectories, noDirectoryReason } from './directories.ts';

const directoryMode = 0o700;
const fileMode = 0o600;

/** Makes every change of names in the directory durable. */
export async function fsyncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * mkdir -p, durable: the parent of each directory that was made is fsynced. The path is one of the configuration's:
 * `invalid-configuration` where there can be no directory.
 */
export async function makeDirectoryDurably(path: string, mode: number = directoryMode): Promise<void> {
  const made = configuredDirectory(resolve(path), mode);
  for (const directory of made.toReversed()) await fsyncDirectory(dirname(directory));
}

/** Answers what was made, the outermost first. */
export function configuredDirectory(path: string, mode: number = directoryMode): readonly string[] {
  let reason: string | null = 'it is there already and is no directory';
  try {
    const made = makeDirectories(path, mode);
    if (statSync(path).isDirectory()) return made;
  } catch (error) {
    reason = noDirectoryReason(error);
    if (reason === null) throw error;
  }
  throw new Failure('invalid-configuration', `${path} cannot be made a directory: ${reason}.`);
}

/** Replaces the file as a whole; afterwards the new content is there, over any crash. */
export async function replaceFile(
  path: string,
  content: string | Uint8Array | Iterable<string>,
  mode: number = fileMode,
): Promise<void> {
  const temporary = temporaryName(path);
  try {
    await writeNew(temporary, content, mode);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await fsyncDirectory(dirname(path));
}

/** Where `replaceFile` writes first; a crash can leave it behind, the next replacement overwrites it. */
export function temporaryName(path: string): string {
  return `${path}.new`;
}

export async function replaceJson(path: string, value: unknown, mode: number = fileMode): Promise<void> {
  await replaceFile(path, `${JSON.stringify(value)}\n`, mode);
}

/** For what may be written later: false where there is no space, and the former content stays. */
export async function replaceJsonIfFits(path: string, value: unknown): Promise<boolean> {
  try {
    await replaceJson(path, value);
    return true;
  } catch (error) {
    if (isNoSpace(error)) return false;
    throw error;
  }
}

/** The parsed content; null when there is no such file. Unreadable or malformed throws: it is never "absent". */
export async function readJson(path: string): Promise<unknown> {
  const text = await readTextOrNull(path);
  return text === null ? null : (JSON.parse(text) as unknown);
}

export async function readTextOrNull(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}

export function isAbsent(error: unknown): boolean {
  return errorCode(error) === 'ENOENT';
}

export function isNoSpace(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(errorCode(error) ?? '');
}

/** `ENOENT` and the like, of whatever was thrown; undefined where it has none. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

async function writeNew(path: string, content: string | Uint8Array | Iterable<string>, mode: number): Promise<void> {
  const handle = await open(path, 'w', mode);
  try {
    if (typeof content === 'string' || content instanceof Uint8Array) await handle.writeFile(content);
    else for (const part of content) await handle.appendFile(part);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
