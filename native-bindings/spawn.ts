// posix_spawn(3): starts a program without copying this process's page tables first. Node's own spawn forks: with some
// hundred megabytes that stops every thread for milliseconds, and each page that is written afterwards faults once more.
//
// Relies on every descriptor of this process being close-on-exec, so that a program has only what it is given. Opaque
// structs of spawn.h and signal.h get more room than any libc asks for.

import koffi from 'koffi';
import { SystemCallError } from '../src/system/system-call-error.ts';
import { openFlags } from './libc.ts';

const library = koffi.load(null);

/** spawn.h; they answer the error number instead of setting errno. */
const posixSpawn = library.func(
  'int posix_spawn(_Out_ int *pid, const char *path, const void *actions, const void *attributes, const char **argv, const char **envp)',
);
const actionsInit = library.func('int posix_spawn_file_actions_init(void *actions)');
const actionsDestroy = library.func('int posix_spawn_file_actions_destroy(void *actions)');
const addDuplicate = library.func('int posix_spawn_file_actions_adddup2(void *actions, int fd, int newFd)');
const addOpen = library.func(
  'int posix_spawn_file_actions_addopen(void *actions, int fd, const char *path, int flags, unsigned int mode)',
);
const attributesInit = library.func('int posix_spawnattr_init(void *attributes)');
const attributesDestroy = library.func('int posix_spawnattr_destroy(void *attributes)');
const setFlags = library.func('int posix_spawnattr_setflags(void *attributes, short flags)');
const setMask = library.func('int posix_spawnattr_setsigmask(void *attributes, const void *set)');
const setDefault = library.func('int posix_spawnattr_setsigdefault(void *attributes, const void *set)');
const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;
const POSIX_SPAWN_SETSID = 0x80;

/** signal.h */
const fillSignals = library.func('int sigfillset(_Out_ void *set)');
const emptySignals = library.func('int sigemptyset(_Out_ void *set)');

/** unistd.h */
const pipe2 = library.func('int pipe2(_Out_ int *fds, int flags)');

/** sys/wait.h */
const waitpid = library.func('int waitpid(int pid, _Out_ int *status, int options)');
const WNOHANG = 1;

const opaqueBytes = 1_024;

export interface SpawnRequest {
  readonly path: string;
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** They become 1, 2, 3 ... of the program; 0 is /dev/null. */
  readonly descriptors: readonly number[];
}

/**
 * Answers the process id, that leads a group of its own (setsid), with every signal as it was at the start of a program. The caller
 * reaps it. Runs on a thread of libuv's: the calling one stands still until the program has been loaded.
 */
export async function spawnProgram({ path, argv, environment, descriptors }: SpawnRequest): Promise<number> {
  const actions = Buffer.alloc(opaqueBytes);
  const attributes = Buffer.alloc(opaqueBytes);
  checked('posix_spawn_file_actions_init', actionsInit(actions));
  checked('posix_spawnattr_init', attributesInit(attributes));
  try {
    arrangeDescriptors(actions, descriptors);
    arrangeSignals(attributes);
    const pid = [0];
    const texts = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
    checked('posix_spawn', await called([pid, path, actions, attributes, [...argv, null], [...texts, null]]), path);
    return pid[0] ?? 0;
  } finally {
    actionsDestroy(actions);
    attributesDestroy(attributes);
  }
}

function called(args: readonly unknown[]): Promise<unknown> {
  return new Promise((resolve, reject) => {
    posixSpawn.async(...args, (error: unknown, result: unknown) => (error ? reject(error) : resolve(result)));
  });
}

/** The sources lie above the targets (this process has its own descriptors there), so that none overwrites another. */
function arrangeDescriptors(actions: Buffer, descriptors: readonly number[]): void {
  checked('posix_spawn_file_actions_addopen', addOpen(actions, 0, '/dev/null', openFlags.O_RDONLY, 0));
  for (const [index, descriptor] of descriptors.entries()) {
    if (descriptor <= descriptors.length) throw new Error(`descriptor ${descriptor} would be overwritten`);
    checked('posix_spawn_file_actions_adddup2', addDuplicate(actions, descriptor, index + 1));
  }
}

function arrangeSignals(attributes: Buffer): void {
  const set = Buffer.alloc(opaqueBytes);
  fillSignals(set);
  checked('posix_spawnattr_setsigdefault', setDefault(attributes, set));
  emptySignals(set);
  checked('posix_spawnattr_setsigmask', setMask(attributes, set));
  const flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID;
  checked('posix_spawnattr_setflags', setFlags(attributes, flags));
}

export interface Pipe {
  readonly readEnd: number;
  readonly writeEnd: number;
}

export function openPipe(): Pipe {
  const ends = [-1, -1];
  if (Number(pipe2(ends, openFlags.O_CLOEXEC)) !== 0) throw new SystemCallError('pipe2', koffi.errno());
  return { readEnd: ends[0] ?? -1, writeEnd: ends[1] ?? -1 };
}

/** How a program ended: one of both is null. */
export interface ProgramEnd {
  readonly exitCode: number | null;
  readonly signal: number | null;
}

/** Null while it runs. Once it has ended, its process id is free for others: not to be asked for again. */
export function reapProgram(pid: number): ProgramEnd | null {
  const status = [0];
  const reaped = Number(waitpid(pid, status, WNOHANG));
  if (reaped < 0) throw new SystemCallError('waitpid', koffi.errno());
  if (reaped === 0) return null;
  const word = status[0] ?? 0;
  const signal = word & 0x7f;
  return signal === 0 ? { exitCode: (word >> 8) & 0xff, signal: null } : { exitCode: null, signal };
}

function checked(what: string, error: unknown, detail = ''): void {
  if (Number(error) !== 0) throw new SystemCallError(what, Number(error), detail);
}
