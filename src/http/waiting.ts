/** Counts what is held for requests, so that no flood of them is more than the process can carry. */
import { limits } from '../config/limits.ts';
import { Failure } from '../domain/errors.ts';

export class Waiting {
  #requests = 0;
  #bodyBytes = 0;
  #waiting = 0;
  #streams = 0;

  /** Takes room for a request; throws `too-many-requests`. A body of unknown length counts as the largest one. */
  enter(bodyBytes: number): void {
    const full = this.#requests >= limits.requestsInFlight;
    if (full || this.#bodyBytes + bodyBytes > limits.bodyBytesInFlight) throw busy('requests are being served');
    this.#requests += 1;
    this.#bodyBytes += bodyBytes;
  }

  leave(bodyBytes: number): void {
    this.#requests -= 1;
    this.#bodyBytes -= bodyBytes;
  }

  /** Called before anything is accepted: afterwards a request that cannot wait is answered 202 instead. */
  requireRoomToWait(): void {
    if (this.#waiting >= limits.waitingRequests) throw busy('requests are waiting for their operations');
  }

  async wait<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting += 1;
    try {
      return await work();
    } finally {
      this.#waiting -= 1;
    }
  }

  enterStream(): void {
    if (this.#streams >= limits.eventStreams) throw busy('event streams are open');
    this.#streams += 1;
  }

  leaveStream(): void {
    this.#streams -= 1;
  }
}

function busy(what: string): Failure {
  return new Failure('too-many-requests', `As many ${what} as this process carries; come back later.`);
}
