import { Worker } from 'node:worker_threads';
import { Failure } from '../../domain/errors.ts';
import type { Store } from '../store.ts';
import type { StoreCall, StoreMessage } from './protocol.ts';

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A store on a thread of its own, seen from the others: SQLite is synchronous, and a commit must not stop the event
 * loop. Its port's methods are the message boundary, so nothing is shared and nothing is translated.
 */
export async function openStoreThread(options: {
  /** The module that builds the store and serves it. */
  readonly moduleUrl: URL;
  readonly workerData: unknown;
  /** The store failed in a way that it cannot recover from; the process must end. */
  readonly onFatal: (message: string) => void;
}): Promise<Store> {
  const worker = new Worker(options.moduleUrl, { workerData: options.workerData, name: 'store' });
  const link = new StoreLink(worker, options.onFatal);
  await link.ready;
  return new Proxy(Object.create(null), {
    get: (_, method) =>
      typeof method === 'string' && method !== 'then' ? (...args: unknown[]) => link.call(method, args) : undefined,
  }) as Store;
}

class StoreLink {
  readonly ready: Promise<void>;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #ended: Failure | null = null;

  constructor(worker: Worker, onFatal: (message: string) => void) {
    this.#worker = worker;
    this.ready = new Promise((resolve, reject) => {
      worker.on('message', (message: StoreMessage) => {
        if (message.kind === 'ready') resolve();
        else if (message.kind === 'unopened') reject(Failure.from(message.problem));
        else if (message.kind === 'fatal') onFatal(message.message);
        else this.#settle(message);
      });
      worker.on('error', (error) => {
        reject(error);
        this.#end(error);
        onFatal(error instanceof Error ? error.message : String(error));
      });
      worker.on('exit', () => this.#end(null));
    });
  }

  call(method: string, args: readonly unknown[]): Promise<unknown> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    const id = this.#nextId;
    this.#nextId += 1;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, method, args } as StoreCall);
    });
  }

  #settle(message: Exclude<StoreMessage, { kind: 'ready' | 'unopened' | 'fatal' }>): void {
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.kind === 'answer') waiting?.resolve(message.value);
    else if (message.kind === 'refusal') waiting?.reject(Failure.from(message.problem));
    else waiting?.reject(Object.assign(new Error(message.message), { stack: message.stack }));
  }

  #end(cause: unknown): void {
    this.#ended = new Failure('store-unavailable', 'The store is closed.', { cause });
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
    this.#waiting.clear();
  }
}
