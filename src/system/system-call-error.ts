import { constants } from 'node:os';

/**
 * A system call that the kernel refused: our own bindings and `node:fs` both end here, so that adapters can branch on
 * `code` and translate what they expect into a `Failure`.
 */
export class SystemCallError extends Error {
  /** Positive, as in errno(3). */
  readonly errno: number;
  /** e.g. `EBUSY` */
  readonly code: string;
  readonly syscall: string;

  constructor(syscall: string, errno: number, detail = '') {
    const code = errnoName(errno);
    super(`${syscall}${detail === '' ? '' : ` ${detail}`}: ${code}`);
    this.name = 'SystemCallError';
    this.errno = errno;
    this.code = code;
    this.syscall = syscall;
  }
}

const names = new Map(Object.entries(constants.errno).map(([name, value]) => [value, name]));

export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`;
}

export function errnoOf(name: keyof typeof constants.errno): number {
  return constants.errno[name];
}

/** The errno's name of anything that was thrown by a system call, ours or Node's; null for everything else. */
export function systemCodeOf(error: unknown): string | null {
  if (error instanceof SystemCallError) return error.code;
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return null;
  return error.code in constants.errno ? error.code : null;
}
