// A few dedicated threads for calls that can block in the kernel for as long as it likes: ioctl, mount, flock, fsync.
// They never run on the event loop, where one dead disk would stop everything, nor on libuv's shared threads.
//
// Relies on: the functions of the module take and return plain data, and can be repeated: a call that overran its
// deadline may still happen later (`onLateReturn` tells when it has). A thread that is stuck in the kernel cannot be
// ended; it is counted, replaced while replacements are left, and ended when it comes back.

import { Worker } from 'node:worker_threads';
import { limits } from '../config/limits.ts';
import { assert, Failure, type Problem } from '../domain/errors.ts';
import { SystemCallError } from './system-call-error.ts';

export interface BlockingCall {
  readonly id: number;
  readonly functionName: string;
  readonly args: readonly unknown[];
}

export type BlockingFailure =
  | { readonly kind: 'failure'; readonly problem: Problem; readonly cause: string }
  | { readonly kind: 'system'; readonly errno: number; readonly syscall: string; readonly message: string }
  | { readonly kind: 'bug'; readonly message: string; readonly stack: string };

export type BlockingAnswer =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | { readonly id: number; readonly ok: false; readonly failure: BlockingFailure };

export interface BlockingPoolOptions {
  /** See `siblingModule`. */
  readonly moduleUrl: URL;
  readonly threads: number;
  /** How many threads may be stuck and replaced at one time. */
  readonly replacements?: number;
  readonly queuedCalls?: number;
}

export interface BlockingRunOptions {
  /** From now on, waiting for a thread included. */
  readonly deadlineMs: number;
  /** Called once, when a call that was answered with `deadline-exceeded` has ended after all; null: it never began. */
  readonly onLateReturn?: (answer: BlockingAnswer | null) => void;
}

export interface BlockingPoolState {
  readonly threads: number;
  readonly stuck: number;
  readonly queued: number;
}

interface Pending {
  readonly call: BlockingCall;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly onLateReturn: (answer: BlockingAnswer | null) => void;
  readonly timer: NodeJS.Timeout;
}

/** `idle` has no call; `busy` has one; `stuck` has one whose caller was already told `deadline-exceeded`. */
interface Thread {
  readonly worker: Worker;
  /** Resolves when the module is imported, or the thread has ended without. */
  readonly loaded: Promise<unknown>;
  state: 'idle' | 'busy' | 'stuck';
  pending: Pending | null;
}

/** The URL of the module `name` beside the module `base`: TypeScript in a checkout, JavaScript in the package. */
export function siblingModule(base: string, name: string): URL {
  return new URL(`${name}${base.endsWith('.ts') ? '.ts' : '.js'}`, base);
}

export class BlockingPool {
  readonly #moduleUrl: URL;
  readonly #threadCount: number;
  readonly #replacements: number;
  readonly #queuedCalls: number;
  readonly #threads = new Set<Thread>();
  readonly #idle: Thread[] = [];
  readonly #queue = new Set<Pending>();
  #stuck = 0;
  #crashes = 0;
  #nextId = 1;
  #closed = false;

  constructor(options: BlockingPoolOptions) {
    this.#moduleUrl = options.moduleUrl;
    this.#threadCount = options.threads;
    this.#replacements = options.replacements ?? limits.blockingReplacements;
    this.#queuedCalls = options.queuedCalls ?? limits.blockingQueuedCalls;
    this.#fill();
  }

  get state(): BlockingPoolState {
    return { threads: this.#threads.size - this.#stuck, stuck: this.#stuck, queued: this.#queue.size };
  }

  /**
   * Runs the module's exported function on a thread. Throws the `Failure` or the `SystemCallError` that it threw;
   * `deadline-exceeded` when it did not return in time (the outcome is then unknown).
   */
  run<T>(functionName: string, args: readonly unknown[], options: BlockingRunOptions): Promise<T> {
    assert(!this.#closed, 'blocking-pool-run-after-close');
    if (this.#queue.size >= this.#queuedCalls) {
      options.onLateReturn?.(null);
      return Promise.reject(
        new Failure('deadline-exceeded', `${this.#queue.size} blocking calls are waiting already.`),
      );
    }
    return new Promise<T>((resolve, reject) => {
      const call = { id: this.#nextId++, functionName, args };
      const timer = setTimeout(() => this.#expire(pending, options.deadlineMs), options.deadlineMs);
      const pending: Pending = {
        call,
        timer,
        resolve: (value) => resolve(value as T),
        reject,
        onLateReturn: options.onLateReturn ?? (() => {}),
      };
      this.#queue.add(pending);
      this.#pump();
    });
  }

  /** Ends the threads; calls in flight are rejected. A stuck thread is left to the kernel. */
  async close(): Promise<void> {
    this.#closed = true;
    const threads = [...this.#threads];
    this.#threads.clear();
    const pending = [...this.#queue, ...threads.flatMap((thread) => thread.pending ?? [])];
    this.#queue.clear();
    for (const each of pending) {
      clearTimeout(each.timer);
      each.reject(new Failure('deadline-exceeded', 'The service is closing; the outcome is unknown.'));
    }
    await Promise.all(threads.filter((thread) => thread.state !== 'stuck').map(endThread));
  }

  #fill(): void {
    const wanted = this.#threadCount + Math.min(this.#stuck, this.#replacements);
    while (!this.#closed && this.#threads.size < wanted && this.#crashes <= this.#replacements) this.#start();
  }

  #start(): void {
    const worker = new Worker(siblingModule(import.meta.url, './blocking-thread'), {
      workerData: { moduleUrl: this.#moduleUrl.href },
      // Descriptors belong to the process: a call may open what a later one, on another thread, closes.
      trackUnmanagedFds: false,
    });
    const loaded = new Promise((resolve) => {
      worker.once('message', resolve);
      worker.once('exit', resolve);
    });
    const thread: Thread = { worker, loaded, state: 'idle', pending: null };
    this.#threads.add(thread);
    this.#idle.push(thread);
    worker.on('message', (answer: BlockingAnswer | 'loaded') => {
      if (answer !== 'loaded') this.#returned(thread, answer);
    });
    worker.on('error', (cause) => this.#crashed(thread, new Error(`a blocking thread ended: ${cause}`, { cause })));
  }

  #pump(): void {
    for (const pending of this.#queue) {
      const thread = this.#idle.pop();
      if (thread === undefined) break;
      this.#queue.delete(pending);
      thread.state = 'busy';
      thread.pending = pending;
      thread.worker.postMessage(pending.call);
    }
    if (this.#threads.size === 0) this.#rejectQueued();
  }

  #rejectQueued(): void {
    for (const pending of this.#queue) {
      clearTimeout(pending.timer);
      pending.reject(new Error('every blocking thread has crashed'));
    }
    this.#queue.clear();
  }

  #returned(thread: Thread, answer: BlockingAnswer): void {
    const pending = thread.pending;
    if (this.#closed || pending === null) return;
    assert(pending.call.id === answer.id, 'blocking-pool-answer-out-of-order');
    thread.pending = null;
    if (thread.state === 'stuck') {
      this.#cameBack(thread, pending, answer);
      return;
    }
    thread.state = 'idle';
    this.#idle.push(thread);
    settle(pending, answer);
    this.#pump();
  }

  #cameBack(thread: Thread, pending: Pending, answer: BlockingAnswer): void {
    this.#stuck -= 1;
    pending.onLateReturn(answer);
    if (this.#threads.size - this.#stuck > this.#threadCount) {
      this.#threads.delete(thread);
      void thread.worker.terminate();
      return;
    }
    thread.state = 'idle';
    thread.worker.ref();
    this.#idle.push(thread);
    this.#pump();
  }

  #expire(pending: Pending, deadlineMs: number): void {
    const { functionName } = pending.call;
    pending.reject(new Failure('deadline-exceeded', `${functionName} did not return within ${deadlineMs} ms.`));
    if (this.#queue.delete(pending)) {
      pending.onLateReturn(null);
      return;
    }
    const thread = [...this.#threads].find((each) => each.pending === pending);
    assert(thread !== undefined, 'blocking-pool-expired-call-without-thread');
    thread.state = 'stuck';
    thread.worker.unref();
    this.#stuck += 1;
    this.#fill();
    this.#pump();
  }

  #crashed(thread: Thread, error: Error): void {
    if (!this.#threads.delete(thread)) return;
    this.#crashes += 1;
    const at = this.#idle.indexOf(thread);
    if (at >= 0) this.#idle.splice(at, 1);
    const { pending } = thread;
    if (thread.state === 'stuck') this.#stuck -= 1;
    if (pending !== null && thread.state === 'stuck') {
      const failure = { kind: 'bug', message: error.message, stack: '' } as const;
      pending.onLateReturn({ id: pending.call.id, ok: false, failure });
    } else if (pending !== null) {
      clearTimeout(pending.timer);
      pending.reject(error);
    }
    this.#fill();
    this.#pump();
  }
}

/** A thread that is terminated while it loads a native add-on takes the whole process with it (napi_throw is fatal). */
async function endThread(thread: Thread): Promise<void> {
  await thread.loaded;
  await thread.worker.terminate();
}

function settle(pending: Pending, answer: BlockingAnswer): void {
  clearTimeout(pending.timer);
  if (answer.ok) pending.resolve(answer.value);
  else pending.reject(errorOf(answer.failure));
}

function errorOf(failure: BlockingFailure): Error {
  if (failure.kind === 'failure') {
    return new Failure(failure.problem.code, failure.problem.detail, { ...failure.problem, cause: failure.cause });
  }
  const error =
    failure.kind === 'system' ? new SystemCallError(failure.syscall, failure.errno) : new Error(failure.message);
  error.message = failure.message;
  if (failure.kind === 'bug' && failure.stack !== '') error.stack = failure.stack;
  return error;
}
