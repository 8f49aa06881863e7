import type { QueueMessage, QueueObserver } from '../../src/queue/queue.ts';

/** Remembers what a queue swallowed. */
export class RecordingQueueObserver implements QueueObserver {
  readonly handoversFailed: string[] = [];
  readonly errors: { readonly where: string; readonly error: unknown }[] = [];

  handoverFailed(kind: QueueMessage): void {
    this.handoversFailed.push(kind);
  }

  errored(where: string, error: unknown): void {
    this.errors.push({ where, error });
  }

  erroredAt(where: string): number {
    return this.errors.filter((entry) => entry.where === where).length;
  }
}

/** Work that is counted, and can be held in the middle of a run. */
export class CountedWork {
  started = 0;
  ended = 0;
  mostAtOnce = 0;
  #gate: { readonly open: Promise<void>; readonly release: () => void } | null = null;

  readonly run = async (): Promise<void> => {
    this.started += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.started - this.ended);
    await this.#gate?.open;
    this.ended += 1;
  };

  hold(): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gate = { open: promise, release: resolve };
  }

  release(): void {
    this.#gate?.release();
    this.#gate = null;
  }
}
