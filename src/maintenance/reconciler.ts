/**
 * Something that must stay true. `run` takes no arguments, reads intent and reality, moves one toward the other, can be
 * repeated at any time, and leaves retrying to its next run.
 */
export interface Reconciler {
  readonly name: string;
  /** Answers how many things it changed; 0 on a run that found everything as it should be. */
  run(): Promise<number>;
  /** What was begun before is nobody's: the next run takes it up without waiting for its leases. */
  recover?(): void;
}

/** One that takes up what it had begun. */
export type RecoveringReconciler = Reconciler & Required<Pick<Reconciler, 'recover'>>;
