import { readdirSync, readFileSync } from 'node:fs';

const sampleEveryMs = 100;
const bytesPerKib = 1_024;

/**
 * Peak resident memory of a process and all its descendants: the largest sum that was sampled, and never less than
 * what the kernel says a single one of them had at its peak (VmHWM, proc_pid_status(5)).
 */
export class ProcessTreeMemory {
  readonly #root: number;
  readonly #timer: NodeJS.Timeout;
  #peakBytes = 0;

  constructor(root: number) {
    this.#root = root;
    this.#timer = setInterval(() => this.#sample(), sampleEveryMs);
    this.#timer.unref();
    this.#sample();
  }

  get peakBytes(): number {
    this.#sample();
    return this.#peakBytes;
  }

  stop(): number {
    clearInterval(this.#timer);
    return this.peakBytes;
  }

  #sample(): void {
    const statuses = processTree(this.#root).map(statusOf);
    const residentBytes = statuses.reduce((sum, status) => sum + kibField(status, 'VmRSS'), 0);
    const highest = Math.max(0, ...statuses.map((status) => kibField(status, 'VmHWM')));
    this.#peakBytes = Math.max(this.#peakBytes, residentBytes, highest);
  }
}

/** The process and its descendants now. */
export function processTree(root: number): readonly number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const parent = Number(/^PPid:\s+(\d+)/m.exec(statusOf(Number(name)))?.[1] ?? 0);
    children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const tree = [root];
  for (const pid of tree) tree.push(...(children.get(pid) ?? []));
  return tree;
}

/** Empty for a process that has ended. */
function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'latin1');
  } catch {
    return '';
  }
}

function kibField(status: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) * bytesPerKib;
}
