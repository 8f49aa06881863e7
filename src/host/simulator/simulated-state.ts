// What the simulated host knows: devices, mounts, the highest epoch of each volume, its boot id. Rebuilt from a record
// log when there is one, so that a restart finds it as a kernel and a durable fence would keep it.

import type { RecordState } from '../../system/record-log.ts';

export interface SimulatedDevice {
  readonly volumeId: string;
  readonly mediaGeneration: number;
  readonly number: number;
  readonly readOnly: boolean;
}

export interface SimulatedMount {
  readonly path: string;
  readonly volumeId: string;
  readonly mediaGeneration: number;
  readonly foreignNamespace: boolean;
}

export type SimulatedRecord =
  | { readonly kind: 'device'; readonly device: SimulatedDevice }
  | { readonly kind: 'device-gone'; readonly volumeId: string; readonly mediaGeneration: number }
  | { readonly kind: 'mount'; readonly mount: SimulatedMount }
  | { readonly kind: 'mount-gone'; readonly path: string }
  | { readonly kind: 'epoch'; readonly volumeId: string; readonly epoch: number }
  /** Without volumes: of all. */
  | { readonly kind: 'epochs-forgotten'; readonly volumeIds?: readonly string[] }
  | { readonly kind: 'boot'; readonly bootId: string };

const kinds = new Set(['device', 'device-gone', 'mount', 'mount-gone', 'epoch', 'epochs-forgotten', 'boot']);

export class SimulatedState implements RecordState<SimulatedRecord> {
  readonly devices = new Map<string, SimulatedDevice>();
  readonly mounts = new Map<string, SimulatedMount>();
  readonly epochs = new Map<string, number>();
  bootId: string | null = null;
  #nextNumber = 0;

  get size(): number {
    return this.devices.size + this.mounts.size + this.epochs.size + 1;
  }

  parse(value: unknown): SimulatedRecord | null {
    if (typeof value !== 'object' || value === null || !('kind' in value)) return null;
    return kinds.has(String(value.kind)) ? (value as SimulatedRecord) : null;
  }

  apply(record: SimulatedRecord): void {
    switch (record.kind) {
      case 'device':
        this.devices.set(keyOf(record.device), record.device);
        this.#nextNumber = Math.max(this.#nextNumber, record.device.number + 1);
        return;
      case 'device-gone':
        this.devices.delete(keyOf(record));
        return;
      case 'mount':
        this.mounts.set(record.mount.path, record.mount);
        return;
      case 'mount-gone':
        this.mounts.delete(record.path);
        return;
      case 'epoch':
        this.epochs.set(record.volumeId, record.epoch);
        return;
      case 'epochs-forgotten':
        for (const volumeId of record.volumeIds ?? [...this.epochs.keys()]) this.epochs.delete(volumeId);
        return;
      case 'boot':
        this.#boot(record.bootId);
    }
  }

  *snapshot(): Iterable<SimulatedRecord> {
    if (this.bootId !== null) yield { kind: 'boot', bootId: this.bootId };
    for (const device of this.devices.values()) yield { kind: 'device', device };
    for (const mount of this.mounts.values()) yield { kind: 'mount', mount };
    for (const [volumeId, epoch] of this.epochs) yield { kind: 'epoch', volumeId, epoch };
  }

  /** Answers each number once, also to calls whose devices are not durable yet. */
  takeNumber(): number {
    const number = this.#nextNumber;
    this.#nextNumber += 1;
    return number;
  }

  /** Devices and mounts are the kernel's and end with it; epochs are durable. */
  #boot(bootId: string): void {
    if (this.bootId !== null) {
      this.devices.clear();
      this.mounts.clear();
    }
    this.bootId = bootId;
  }
}

export function keyOf(medium: { readonly volumeId: string; readonly mediaGeneration: number }): string {
  return `${medium.volumeId}.${medium.mediaGeneration}`;
}
