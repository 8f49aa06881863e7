/**
 * Started as a process of its own: opens a local storage node, carries out one action, and kills itself with SIGKILL the
 * moment a named step is done. Arguments: one JSON `CrashPlan`. Ends with 3 when the step never came.
 */

import type { StorageNode } from '../../src/storage-node/storage-node.ts';
import { runCommand } from '../../src/system/command.ts';
import { openLocalNode } from './local-storage-node.ts';

export interface CrashPlan {
  readonly dataDirectory: string;
  readonly method: 'provision' | 'wipe' | 'destroy' | 'export' | 'unexport';
  readonly request: unknown;
  /** Null: until the parent kills it. */
  readonly step: string | null;
  /** Runs instead of mkfs, with the same arguments. */
  readonly mkfs?: string;
}

const plan = JSON.parse(process.argv[2] ?? '') as CrashPlan;

function onStep(step: string): void {
  if (step === plan.step) process.kill(process.pid, 'SIGKILL');
}

function call(node: StorageNode): Promise<unknown> {
  const method = node[plan.method] as (requests: readonly unknown[]) => Promise<unknown>;
  return method.call(node, [plan.request]);
}

const { mkfs } = plan;
const replaced: typeof runCommand = (argv, options) =>
  runCommand(mkfs === undefined ? argv : [mkfs, ...argv.slice(1)], options);
const node = await openLocalNode(plan.dataDirectory, { file: { onStep, runCommand: replaced }, exporter: { onStep } });
await call(node);
process.exitCode = 3;
await node.close();
