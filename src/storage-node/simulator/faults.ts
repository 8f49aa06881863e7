/**
 * Faults that a simulated storage node shows on request. Each is for one kind of call (or any) and one volume (or any),
 * and counts down: after `times` hits it is over.
 *
 * - `fail`: the item is answered with a problem; nothing happens.
 * - `throw`: the call throws (the caller cannot know); `landed` says whether the item's effect happened.
 * - `delay`: the call waits until the fault is released, then goes on.
 * - `late`: the call throws at once; the effect is tried when the fault is released, and the fence judges it then.
 */
import type { Problem } from '../../domain/errors.ts';

export type CallKind = 'provision' | 'wipe' | 'destroy' | 'export' | 'unexport';

export type FaultEffect =
  | { readonly effect: 'fail'; readonly problem: Problem }
  | { readonly effect: 'throw'; readonly landed?: boolean }
  | { readonly effect: 'delay' }
  | { readonly effect: 'late' };

export type Fault = FaultEffect & {
  /** Absent: every kind. */
  readonly kind?: CallKind;
  /** Absent: every volume. */
  readonly volumeId?: string;
  /** Absent: once. */
  readonly times?: number;
};

/** What was injected: tells whether it was met, and lets go of what it holds back. */
export class InjectedFault {
  readonly fault: Fault;
  readonly released: Promise<void>;
  #hits = 0;
  #left: number;
  #release: () => void = () => {};

  constructor(fault: Fault) {
    this.fault = fault;
    this.#left = fault.times ?? 1;
    this.released = new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  get hits(): number {
    return this.#hits;
  }

  get isOver(): boolean {
    return this.#left <= 0;
  }

  /** Lets delayed calls go on and late effects land. */
  release(): void {
    this.#release();
  }

  /** No further item is hit; what is held back stays so until `release`. */
  end(): void {
    this.#left = 0;
  }

  /** Whether this item is hit, counted if so. */
  hit(kind: CallKind, volumeId: string): boolean {
    if (this.#left <= 0) return false;
    if (this.fault.kind !== undefined && this.fault.kind !== kind) return false;
    if (this.fault.volumeId !== undefined && this.fault.volumeId !== volumeId) return false;
    this.#left -= 1;
    this.#hits += 1;
    return true;
  }
}

export class Faults {
  #injected: InjectedFault[] = [];

  get isEmpty(): boolean {
    return this.#injected.length === 0;
  }

  inject(fault: Fault): InjectedFault {
    const injected = new InjectedFault(fault);
    this.#injected.push(injected);
    return injected;
  }

  find(kind: CallKind, volumeId: string): InjectedFault | null {
    const found = this.#injected.find((each) => each.hit(kind, volumeId)) ?? null;
    this.#injected = this.#injected.filter((each) => !each.isOver);
    return found;
  }
}
