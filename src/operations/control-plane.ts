import type { Batch } from '../domain/operation.ts';
import type { AcceptAnswer, NewBatch, Store } from '../store/store.ts';

/** What the outer layers (HTTP, standalone) see of the running control plane. */
export interface ControlPlane {
  readonly store: Store;
  readonly intake: Intake;
  /** What is not ready, by part; empty when everything is. */
  readiness(): Promise<readonly Unready[]>;
  /** Runs the named reconcilers now (all of them when none is named). */
  nudge(...reconcilers: readonly string[]): void;
  /** Has the worker look into the journal now: something that operations wait for has happened. */
  wake(): void;
  /** Binds a storage node's data to this store: a person's word after a restore (`fcr adopt`). */
  adopt(storageNode: string): Promise<void>;
}

export interface Unready {
  readonly part: string;
  readonly reason: string;
}

export interface Intake {
  /** Journals the batch (group commit with its neighbours). Once it resolves with `accepted`, it is durable. */
  accept(batch: NewBatch): Promise<AcceptAnswer>;
  /** Waits until the batch has ended, at most `timeoutMs`; null when it has not. */
  waitEnded(batch: string, timeoutMs: number): Promise<Batch | null>;
}
