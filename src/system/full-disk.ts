import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { Failure } from '../domain/errors.ts';
import { suppressedOf, withSuppressed } from './suppressed.ts';
import { systemCodeOf } from './system-call-error.ts';

/** It, or what caused it, is that nothing could be written. */
export function isDiskFull(error: unknown): boolean {
  const code = systemCodeOf(error);
  return code === 'ENOSPC' || code === 'EDQUOT' || (error instanceof Error && isDiskFull(error.cause));
}

/** In the same words whatever was about to be written. */
export function fullDisk(directory: string, cause: unknown): Failure {
  const detail = `The disk that holds ${directory} is full: free some space on it, then start again.`;
  return new Failure('out-of-space', detail, { cause });
}

/** What a start fails with. What has no space is on the disk of `directory`, unless it says otherwise. */
export function namingFullDisk(directory: string, error: unknown): unknown {
  if (!isDiskFull(error)) return error;
  const written = writtenDirectory(error);
  const full = written === null || deviceOf(written) === deviceOf(directory) ? directory : written;
  return withSuppressed(fullDisk(full, error), suppressedOf(error));
}

/** By the error, or by what caused it. */
function writtenDirectory(error: unknown): string | null {
  if (!(error instanceof Error)) return null;
  return 'path' in error && typeof error.path === 'string' ? dirname(error.path) : writtenDirectory(error.cause);
}

function deviceOf(directory: string): number | undefined {
  return statSync(directory, { throwIfNoEntry: false })?.dev;
}
