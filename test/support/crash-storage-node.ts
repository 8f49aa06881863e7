/** Runs one action of a local storage node in a process that dies at a step. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { CrashPlan } from './storage-node-crash-child.ts';

const script = fileURLToPath(new URL('./storage-node-crash-child.ts', import.meta.url));

export function startCrashChild(plan: CrashPlan): ChildProcess {
  return spawn(process.execPath, [script, JSON.stringify(plan)], { stdio: ['ignore', 'inherit', 'inherit'] });
}

export function ended(child: ChildProcess): Promise<{ exitCode: number | null; signal: string | null }> {
  if (child.exitCode !== null || child.signalCode !== null) {
    return Promise.resolve({ exitCode: child.exitCode, signal: child.signalCode });
  }
  return new Promise((resolve) => child.once('exit', (exitCode, signal) => resolve({ exitCode, signal })));
}

export async function crashAtStep(plan: CrashPlan): Promise<{ exitCode: number | null; signal: string | null }> {
  return await ended(startCrashChild(plan));
}
