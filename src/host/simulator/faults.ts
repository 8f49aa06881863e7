// Faults that the simulated host shows on request, in the order in which they were planned.

import { type ErrorCode, Failure } from '../../domain/errors.ts';

export type HostMethod =
  | 'discoverPorts'
  | 'identity'
  | 'attach'
  | 'format'
  | 'mount'
  | 'unmount'
  | 'detach'
  | 'inventory';

/**
 * `fail`: the method throws and changes nothing. `delay`: it waits first. `crash-before`: the host dies with nothing
 * done. `crash-after`: it dies with all done and nothing answered. `wrong-identity`: the device is another medium's.
 */
export type HostFault =
  | { readonly kind: 'fail'; readonly method: HostMethod; readonly code: ErrorCode; readonly times?: number }
  | { readonly kind: 'delay'; readonly method: HostMethod; readonly until: Promise<unknown>; readonly times?: number }
  | { readonly kind: 'crash-before' | 'crash-after'; readonly method: HostMethod; readonly times?: number }
  | {
      readonly kind: 'wrong-identity';
      readonly method: 'attach' | 'format' | 'mount';
      readonly times?: number;
    };

/** The process is gone as far as the caller can tell: only a host opened anew on the same directory answers again. */
export class SimulatedCrash extends Error {
  constructor(method: HostMethod | 'any') {
    super(`the simulated host crashed in ${method}`);
    this.name = 'SimulatedCrash';
  }
}

export class HostFaults {
  readonly #planned: { readonly fault: HostFault; left: number }[] = [];
  #crashed = false;

  plan(fault: HostFault): void {
    this.#planned.push({ fault, left: fault.times ?? 1 });
  }

  clear(): void {
    this.#planned.length = 0;
  }

  /** Runs one method of the host with whatever is planned for it. */
  async around<T>(method: HostMethod, work: () => Promise<T>): Promise<T> {
    if (this.#crashed) throw new SimulatedCrash('any');
    const fault = this.#take(method);
    if (fault === null) return await work();
    if (fault.kind === 'fail') throw new Failure(fault.code, `The simulated host was told to fail ${method}.`);
    if (fault.kind === 'wrong-identity') {
      throw new Failure('identity-mismatch', `The simulated device is another medium's (${method}).`);
    }
    if (fault.kind === 'delay') await fault.until;
    if (fault.kind === 'crash-before') throw this.#crash(method);
    const answer = await work();
    if (fault.kind === 'crash-after') throw this.#crash(method);
    return answer;
  }

  #take(method: HostMethod): HostFault | null {
    const found = this.#planned.find(({ fault, left }) => fault.method === method && left > 0);
    if (found === undefined) return null;
    found.left -= 1;
    return found.fault;
  }

  #crash(method: HostMethod): SimulatedCrash {
    this.#crashed = true;
    return new SimulatedCrash(method);
  }
}
