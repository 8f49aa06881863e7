/**
 * The wake-up path between those who accept operations and those who carry them out. Never the truth: a lost, repeated
 * or late message costs time, nothing else, because every worker looks into the journal by itself on a timer.
 */
export interface Queue {
  /** Wakes some worker: there are accepted batches up to this one. Resolves when handed over; may be lost afterwards. */
  wake(batchId: string): Promise<void>;
  /** Tells every process that these batches have ended, so that waiting requests look. May be lost. */
  announceEnded(batchIds: readonly string[]): Promise<void>;
  /** Asks whoever reconciles to run these now, all of them where none is named. May be lost: they have timers. */
  nudge(reconcilers: readonly string[]): Promise<void>;
  onNudge(listener: NudgeListener): void;
  /** Starts delivery of wake-ups to this process. `work` must tolerate repeats; calls do not overlap in one process. */
  onWake(work: () => Promise<void>): void;
  onEnded(listener: (batchIds: readonly string[]) => void): void;
  /** Wake-ups that wait now, for the metrics. */
  depth(): Promise<number>;
  /** Null while it works; otherwise what is wrong, for readyz. */
  trouble(): string | null;
  /** Stops delivery, waits for running work, frees connections. */
  close(): Promise<void>;
}

export type QueueMessage = 'wake' | 'announcement' | 'nudge';

export type NudgeListener = (reconcilers: readonly string[]) => void;

/** Hears of what a queue swallows: it never throws for these, because none of them loses work. */
export interface QueueObserver {
  /** A message was not handed over in time; the timers of the workers make up for it. */
  handoverFailed(kind: QueueMessage): void;
  /** Work, a listener or the connection failed. `where` is a fixed word, for the log. */
  errored(where: string, error: unknown): void;
}
