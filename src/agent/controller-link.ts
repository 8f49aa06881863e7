/**
 * The controller as the agent sees it: every call has a deadline, and whether the controller answers is remembered.
 * While it is known to be away nobody waits for a deadline again: a probe does, and calls are sent once it was answered.
 *
 * A call that overran its deadline may still happen: callers treat `controller-unavailable` as "unknown", never as "no".
 */
import { limits } from '../config/limits.ts';
import { type ErrorCode, errorCatalogue, Failure, problemOf } from '../domain/errors.ts';
import type { Clock } from '../system/clock.ts';
import type { ControllerPort } from './controller-port.ts';

export interface Reachability {
  readonly reachable: boolean | null;
  readonly lastAnswerAt: number | null;
  readonly problem: string | null;
}

export class ControllerLink {
  readonly #port: ControllerPort;
  readonly #deadlineMs: number;
  readonly #clock: Clock;
  readonly #probe: (port: ControllerPort) => Promise<unknown>;
  readonly #onReturn: () => void;
  /** What the last call that was not answered met; null since something was. */
  #away: Failure | null = null;
  #probing: Promise<void> | null = null;
  #state: Reachability = { reachable: null, lastAnswerAt: null, problem: null };

  /** `probe`: something small that changes nothing. `onReturn`: it answers again. */
  constructor(options: {
    readonly port: ControllerPort;
    readonly deadlineMs: number;
    readonly clock: Clock;
    readonly probe: (port: ControllerPort) => Promise<unknown>;
    readonly onReturn?: () => void;
  }) {
    this.#port = options.port;
    this.#deadlineMs = options.deadlineMs;
    this.#clock = options.clock;
    this.#probe = options.probe;
    this.#onReturn = options.onReturn ?? (() => undefined);
  }

  get reachability(): Reachability {
    return this.#state;
  }

  async call<T>(send: (port: ControllerPort) => Promise<T>): Promise<T> {
    await this.#refuseWhileAway();
    return await this.#send(send);
  }

  /**
   * A call of another client to the same controller, with a deadline of its own: it is not sent while that is known to
   * be away. What an operation met of storage says nothing of the controller, and changes nothing here.
   */
  async share<T>(send: () => Promise<T>): Promise<T> {
    await this.#refuseWhileAway();
    try {
      const answer = await send();
      this.#answered();
      return answer;
    } catch (error) {
      if (isSilence(error) || !isUnknownOutcome(error)) this.#failed(error);
      throw error;
    }
  }

  async #refuseWhileAway(): Promise<void> {
    if (this.#away !== null) await this.#probed();
    if (this.#away !== null) throw stillAway(this.#away);
  }

  /** Resolves when the probe under way has ended, or has taken longer than it does where there is a controller. */
  #probed(): Promise<void> {
    this.#probing ??= this.#beginProbe();
    return this.#probing;
  }

  #beginProbe(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, limits.agentProbeMs);
      this.#send(this.#probe)
        // What it met is kept, as that of every call.
        .catch(() => undefined)
        .finally(() => {
          clearTimeout(timer);
          this.#probing = null;
          resolve();
        });
    });
  }

  async #send<T>(send: (port: ControllerPort) => Promise<T>): Promise<T> {
    try {
      const answer = await this.#bounded(send);
      this.#answered();
      return answer;
    } catch (error) {
      this.#failed(error);
      throw error;
    }
  }

  #bounded<T>(send: (port: ControllerPort) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const late = () =>
        reject(new Failure('controller-unavailable', `The controller did not answer within ${this.#deadlineMs} ms.`));
      const timer = setTimeout(late, this.#deadlineMs);
      send(this.#port)
        .then(resolve, reject)
        .finally(() => clearTimeout(timer));
    });
  }

  #answered(): void {
    const wasAway = this.#state.reachable === false;
    this.#away = null;
    this.#state = { reachable: true, lastAnswerAt: this.#clock.now(), problem: null };
    if (wasAway) this.#onReturn();
  }

  /** A refusal is an answer too. */
  #failed(error: unknown): void {
    if (!isUnknownOutcome(error)) {
      this.#answered();
      return;
    }
    this.#away = isSilence(error) ? error : null;
    this.#state = { ...this.#state, reachable: false, problem: problemOf(error).detail };
  }
}

function isSilence(error: unknown): error is Failure {
  return error instanceof Failure && error.code === 'controller-unavailable';
}

function stillAway(cause: Failure): Failure {
  return new Failure('controller-unavailable', cause.problem.detail, { cause });
}

/** Whether a failed call may have taken effect all the same. */
export function isUnknownOutcome(error: unknown): boolean {
  if (!(error instanceof Failure)) return true;
  const { kind } = errorCatalogue[error.code];
  return kind === 'unavailable' || kind === 'internal';
}

/** Of what says nothing about the request itself. */
export const awayCodes: ReadonlySet<ErrorCode> = new Set([
  'controller-unavailable',
  'store-unavailable',
  'storage-node-unavailable',
  'store-foreign',
]);

/** Whether the controller cannot be asked now: it, or what it stands on, does not answer, or its store is another's. */
export function isAway(error: unknown): boolean {
  return error instanceof Failure && awayCodes.has(error.code);
}

/** Whether the controller says that the attachment is not this host's any more. */
export function hasMovedOn(error: unknown): boolean {
  return error instanceof Failure && (error.code === 'stale-epoch' || error.code === 'attachment-not-found');
}
