// What the host remembers of the devices that it made or found: it saves reading every loop device at each attach and
// detach. It is never believed: the blocking threads confirm each number by LOOP_GET_STATUS64 and look for themselves
// when it does not hold. Filled by a scan at start; bounded by the devices that exist.

import type { DeviceTarget } from '../host.ts';
import { fileNameOf, type Medium } from '../local-medium.ts';
import type { AttachAnswer } from './kernel-calls.ts';
import type { LoopFound } from './loop-device.ts';

export interface KnownDevice {
  readonly numbers: readonly number[];
  readonly file: string | null;
  readonly shown: ReadonlySet<string>;
}

interface Entry {
  numbers: number[];
  file: string | null;
  shown: Set<string>;
  /** An open descriptor of the proved device, from attach until a mount keeps it. */
  held: number | null;
}

export class DeviceMemory {
  readonly #entries = new Map<string, Entry>();

  constructor(found: readonly LoopFound[]) {
    for (const loop of found) {
      const entry = this.#entry(loop);
      entry.numbers.push(loop.number);
      if (!loop.backing.deleted) entry.file = loop.backing.path;
    }
  }

  of(medium: Medium): KnownDevice {
    return this.#entries.get(fileNameOf(medium)) ?? { numbers: [], file: null, shown: new Set() };
  }

  /** Answers older held descriptors, which are to be closed. */
  attached(target: DeviceTarget, answer: AttachAnswer): number[] {
    const outdated = this.takeHeld(target);
    const entry = this.#entry(target);
    entry.numbers = [answer.number];
    entry.file = answer.file;
    entry.held = answer.heldDescriptor;
    return outdated;
  }

  shown(target: DeviceTarget, path: string): void {
    this.#entry(target).shown.add(path);
  }

  hidden(path: string): void {
    for (const entry of this.#entries.values()) if (entry.shown.delete(path)) return;
  }

  /** The caller closes them. */
  takeHeld(medium: Medium): number[] {
    const entry = this.#entries.get(fileNameOf(medium));
    return entry === undefined ? [] : takenFrom(entry);
  }

  takeAllHeld(): number[] {
    return [...this.#entries.values()].flatMap(takenFrom);
  }

  forget(medium: Medium): void {
    this.#entries.delete(fileNameOf(medium));
  }

  #entry(medium: Medium): Entry {
    const key = fileNameOf(medium);
    const present = this.#entries.get(key);
    if (present !== undefined) return present;
    const made: Entry = { numbers: [], file: null, shown: new Set(), held: null };
    this.#entries.set(key, made);
    return made;
  }
}

function takenFrom(entry: Entry): number[] {
  const { held } = entry;
  entry.held = null;
  return held === null ? [] : [held];
}
