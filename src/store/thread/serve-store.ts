import type { MessagePort } from 'node:worker_threads';
import { assert, Failure } from '../../domain/errors.ts';
import type { Store } from '../store.ts';
import type { StoreCall, StoreMessage } from './protocol.ts';

/** Answers the calls that come over the port from the store. Runs on the store's own thread. */
export function serveStore(port: MessagePort, store: Store): void {
  const send = (message: StoreMessage) => port.postMessage(message);
  port.on('message', (call: StoreCall) => {
    const answered = answer(store, call).then(send, (error: unknown) => send(errorMessage(call.id, error)));
    // An open port would keep the thread, and with it the process, alive.
    if (call.method === 'close') void answered.then(() => port.close());
  });
  send({ kind: 'ready' });
}

/** Instead of serving a store. */
export function tellUnopened(port: MessagePort, { problem }: Failure): void {
  const message: StoreMessage = { kind: 'unopened', problem };
  port.postMessage(message);
}

export function tellFatal(port: MessagePort, error: unknown): void {
  const message: StoreMessage = { kind: 'fatal', message: error instanceof Error ? error.message : String(error) };
  port.postMessage(message);
}

async function answer(store: Store, { id, method, args }: StoreCall): Promise<StoreMessage> {
  const member: unknown = Reflect.get(store, method);
  assert(typeof member === 'function', 'store-thread-method');
  return { kind: 'answer', id, value: await Reflect.apply(member, store, args) };
}

function errorMessage(id: number, error: unknown): StoreMessage {
  if (error instanceof Failure) return { kind: 'refusal', id, problem: error.problem };
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  return { kind: 'error', id, message, stack: stack ?? '' };
}
