import type { Batch } from '../domain/operation.ts';
import type { AcceptAnswer, NewBatch, Store } from '../store/store.ts';

/** What the outer layers (HTTP, standalone) see of the running control plane. */
export interface ControlPlane {
  readonly store: Store;
  readonly intake: Intake;
  readiness(): Promise<Conditions>;
  /** Runs the named reconcilers now (all of them when none is named). */
  nudge(...reconcilers: readonly string[]): void;
  /** Has the worker look into the journal now: something that operations wait for has happened. */
  wake(): void;
  /** Binds a storage node's data to this store: a person's word after a restore (`fcr adopt`). */
  adopt(storageNode: string): Promise<void>;
}

/** What is not as it should be, by part. */
export interface Conditions {
  /** Requests cannot be served, or would not be carried out. */
  readonly unready: readonly PartCondition[];
  /** Requests are served, some of them refused or late. */
  readonly degraded: readonly PartCondition[];
}

export interface PartCondition {
  readonly part: string;
  readonly reason: string;
}

export interface Intake {
  /** Journals the batch (group commit with its neighbours). Once it resolves with `accepted`, it is durable. */
  accept(batch: NewBatch): Promise<AcceptAnswer>;
  /** Waits until the batch has ended, at most `timeoutMs`; null when it has not. */
  waitEnded(batch: string, timeoutMs: number): Promise<Batch | null>;
}
