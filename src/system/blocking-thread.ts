// One thread of a BlockingPool: imports the pool's module and answers one call at a time with plain data.
// Relies on: the module's functions keep nothing between calls except what the kernel keeps (descriptors).

import assert from 'node:assert';
import { parentPort, workerData } from 'node:worker_threads';
import { Failure } from '../domain/errors.ts';
import type { BlockingAnswer, BlockingCall, BlockingFailure } from './blocking-pool.ts';

type BlockingFunction = (...args: readonly unknown[]) => unknown;

assert(parentPort !== null, 'blocking-thread-needs-a-parent');
const port = parentPort;
const functions: Readonly<Record<string, unknown>> = await import(String(workerData.moduleUrl));

function isFunction(candidate: unknown): candidate is BlockingFunction {
  return typeof candidate === 'function';
}

function failureOf(error: unknown): BlockingFailure {
  if (error instanceof Failure) return { kind: 'failure', problem: error.problem, cause: String(error.cause ?? '') };
  if (!(error instanceof Error)) return { kind: 'bug', message: String(error), stack: '' };
  if ('errno' in error && typeof error.errno === 'number' && 'syscall' in error) {
    const { errno, syscall, message } = error;
    return { kind: 'system', errno: Math.abs(errno), syscall: String(syscall), message };
  }
  return { kind: 'bug', message: error.message, stack: error.stack ?? '' };
}

async function answer(call: BlockingCall): Promise<BlockingAnswer> {
  const candidate = functions[call.functionName];
  try {
    if (!isFunction(candidate)) throw new Error(`the module exports no function ${call.functionName}`);
    return { id: call.id, ok: true, value: await candidate(...call.args) };
  } catch (error) {
    return { id: call.id, ok: false, failure: failureOf(error) };
  }
}

port.on('message', async (call: BlockingCall) => port.postMessage(await answer(call)));
port.postMessage('loaded');
