/**
 * Where a mount may be: an absolute, normal path. Symbolic links on the way are resolved before anything is recorded,
 * because the kernel's table knows only what they led to.
 */
import { lstat, realpath } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, normalize } from 'node:path';
import { limits } from '../config/limits.ts';
import { Failure } from '../domain/errors.ts';
import { errorCode, isAbsent } from '../system/durable-file.ts';

/** `invalid-request` names the field and the rule. */
export function parseMountPath(path: string, field = 'path'): string {
  const refusal = refusalOf(path);
  if (refusal !== null) throw new Failure('invalid-request', `${field}: ${refusal}.`, { field });
  return path;
}

function refusalOf(path: string): string | null {
  if (path.length > limits.mountPathLength) return `at most ${limits.mountPathLength} characters are accepted`;
  if (path.includes('\0')) return 'a path has no NUL character';
  if (!isAbsolute(path)) return 'an absolute path is accepted';
  if (path === '/') return 'the root directory is refused';
  if (normalize(path) !== path || path.endsWith('/')) return `a normal path is accepted: ${trimmed(normalize(path))}`;
  return null;
}

function trimmed(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

/**
 * The path behind all symbolic links; what is not there yet stays as it was stated. A path that is known already is
 * not looked behind: what it shows is ours.
 */
export async function resolvedPath(path: string, isKnown: (path: string) => boolean): Promise<string> {
  const place = join(await behindLinks(dirname(path)), basename(path));
  return isKnown(place) ? place : ((await realPathOrNull(place)) ?? place);
}

/** Nothing at all is there yet. */
export async function isVacant(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return false;
  } catch (error) {
    if (isAbsent(error)) return true;
    throw unreachable(path, error);
  }
}

async function behindLinks(path: string): Promise<string> {
  const missing: string[] = [];
  for (let existing = path; ; existing = dirname(existing)) {
    const real = await realPathOrNull(existing);
    if (real !== null) return join(real, ...missing);
    missing.unshift(existing.slice(dirname(existing).length).replace(/^\//, ''));
  }
}

async function realPathOrNull(path: string): Promise<string | null> {
  try {
    return await realpath(path);
  } catch (error) {
    if (isAbsent(error)) return null;
    throw unreachable(path, error);
  }
}

function unreachable(path: string, cause: unknown): Failure {
  const why = `${path} cannot be reached (${errorCode(cause) ?? String(cause)})`;
  const detail = `path: ${why}; accepted: an empty directory, or a path below one that is not there yet.`;
  return new Failure('invalid-request', detail, { field: 'path', cause });
}
