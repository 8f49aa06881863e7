/**
 * What one resource must look like after some requests, if it was served one request after the other.
 *
 * `linearize` tries every order of the requests of a group (they were under way together), and for a request without an
 * answer both that it happened and that it did not. What is left are the states that the resource may be in; none left
 * means that the answers contradict each other or an earlier state.
 */
export type ResourceOp =
  | { readonly kind: 'create'; readonly owner: string; readonly pool: string }
  | { readonly kind: 'delete' }
  | { readonly kind: 'attach' }
  | { readonly kind: 'detach' }
  | { readonly kind: 'mount'; readonly path: string }
  | { readonly kind: 'unmount'; readonly path: string }
  | { readonly kind: 'detach-here' }
  | { readonly kind: 'policy-create'; readonly action: string }
  | { readonly kind: 'policy-delete' };

export type ResourceState =
  | {
      readonly kind: 'volume';
      readonly owner: string;
      readonly pool: string;
      /** Attached to the host that is never there. */
      readonly away: boolean;
      /** Where this machine shows it, sorted. */
      readonly mounts: readonly string[];
    }
  | { readonly kind: 'policy'; readonly action: string }
  | null;

type VolumeState = Extract<ResourceState, { kind: 'volume' }>;

/** `done`, `existing`, the code of a problem, or null: no answer. */
export type Outcome = string | null;

/** The part of one request that concerns one resource. */
export interface RequestPart {
  readonly request: number;
  readonly ops: readonly ResourceOp[];
  readonly outcomes: readonly Outcome[];
  readonly atomic: boolean;
}

export interface Possible {
  readonly state: ResourceState;
  /** For each request without an answer, whether it happened on this way here. */
  readonly happened: ReadonlyMap<number, boolean>;
}

/** Refusals that say that nothing was changed, whatever the state was. */
const unchanged: readonly string[] = [
  'pool-exhausted',
  'out-of-space',
  'too-many-requests',
  'journal-full',
  'resource-held',
  'batch-aborted',
];

/** Answers that leave open what was changed. */
const uncertain: readonly string[] = [
  'controller-unavailable',
  'store-unavailable',
  'storage-node-unavailable',
  'deadline-exceeded',
  'device-busy',
  'device-error',
  'storage-failed',
  'volume-not-ready',
];

export function isUncertain(outcome: Outcome): boolean {
  return outcome === null || uncertain.includes(outcome);
}

export function linearize(before: readonly ResourceState[], parts: readonly RequestPart[]): Possible[] {
  const found = new Map<string, Possible>();
  const items = parts.flatMap((part) => itemsOf(part));
  for (const state of before) explore({ state, happened: new Map() }, items, found);
  return [...found.values()];
}

interface Item {
  readonly part: RequestPart;
  /** A mount that failed halfway takes itself back: the undoing may happen at any later moment. */
  readonly undoing: boolean;
}

function itemsOf(part: RequestPart): Item[] {
  const [op] = part.ops;
  const [outcome] = part.outcomes;
  const item = { part, undoing: false };
  const mayUndo = op?.kind === 'mount' && outcome !== undefined && isUncertain(outcome);
  return mayUndo ? [item, { part, undoing: true }] : [item];
}

function explore(at: Possible, rest: readonly Item[], found: Map<string, Possible>): void {
  if (rest.length === 0) {
    found.set(JSON.stringify([at.state, [...at.happened].sort(([a], [b]) => a - b)]), at);
    return;
  }
  for (const item of rest) {
    const others = rest.filter((other) => other !== item);
    for (const next of stepsOf(at, item)) explore(next, others, found);
  }
}

function stepsOf(at: Possible, { part, undoing }: Item): Possible[] {
  const [op] = part.ops;
  if (undoing && op?.kind === 'mount') return [at, { ...at, state: apply(at.state, { ...op, kind: 'unmount' }).state }];
  const isOpen = part.outcomes.some(isUncertain);
  if (!isOpen) return carriedOut(at.state, part).map((state) => ({ ...at, state }));
  const skipped = { ...at, happened: new Map([...at.happened, [part.request, false]]) };
  const happened = new Map([...at.happened, [part.request, true]]);
  return [skipped, ...carriedOut(at.state, part).map((state) => ({ state, happened }))];
}

/** Every state that the operations, in their order, can lead to with the outcomes that were told. */
function carriedOut(before: ResourceState, part: RequestPart): ResourceState[] {
  let states: ResourceState[] = [before];
  for (const [index, op] of part.ops.entries()) {
    const outcome = part.outcomes[index] ?? null;
    states = states.flatMap((state) => oneCarriedOut(state, op, outcome, part.atomic));
  }
  return states;
}

function oneCarriedOut(state: ResourceState, op: ResourceOp, outcome: Outcome, atomic: boolean): ResourceState[] {
  if (outcome !== null && unchanged.includes(outcome)) return [state];
  const after = apply(state, op);
  if (outcome !== null && !uncertain.includes(outcome)) return after.outcome === outcome ? [after.state] : [];
  // A full pool may have refused it.
  return op.kind === 'create' && !atomic ? [after.state, state] : [after.state];
}

export function apply(
  state: ResourceState,
  op: ResourceOp,
): { readonly state: ResourceState; readonly outcome: string } {
  if (op.kind === 'policy-create' || op.kind === 'policy-delete') return applyToPolicy(state, op);
  const volume = state?.kind === 'volume' ? state : null;
  if (op.kind === 'create') return create(volume, op);
  if (volume === null) return { state: null, outcome: op.kind === 'unmount' ? 'mount-not-found' : absentCode(op) };
  return applyToVolume(volume, op);
}

function absentCode(op: ResourceOp): string {
  return op.kind === 'detach' || op.kind === 'detach-here' ? 'attachment-not-found' : 'volume-not-found';
}

function create(volume: VolumeState | null, { owner, pool }: Extract<ResourceOp, { kind: 'create' }>) {
  if (volume === null)
    return { state: { kind: 'volume', owner, pool, away: false, mounts: [] }, outcome: 'done' } as const;
  return { state: volume, outcome: volume.owner === owner && volume.pool === pool ? 'existing' : 'name-taken' };
}

function applyToVolume(volume: VolumeState, op: ResourceOp): { state: ResourceState; outcome: string } {
  const { away, mounts } = volume;
  const isHere = mounts.length > 0;
  const unchanged = (outcome: string) => ({ state: volume, outcome });
  switch (op.kind) {
    case 'delete':
      return away || isHere ? unchanged('volume-in-use') : { state: null, outcome: 'done' };
    case 'attach':
      if (away) return unchanged('existing');
      return isHere ? unchanged('volume-in-use') : { state: { ...volume, away: true }, outcome: 'done' };
    case 'detach':
      return away ? { state: { ...volume, away: false }, outcome: 'done' } : unchanged('attachment-not-found');
    case 'mount':
      if (mounts.includes(op.path)) return unchanged('existing');
      if (away) return unchanged('volume-in-use');
      return { state: { ...volume, mounts: [...mounts, op.path].sort() }, outcome: 'done' };
    case 'unmount':
      if (!mounts.includes(op.path)) return unchanged('mount-not-found');
      return { state: { ...volume, mounts: mounts.filter((path) => path !== op.path) }, outcome: 'done' };
    case 'detach-here':
      return isHere ? { state: { ...volume, mounts: [] }, outcome: 'done' } : unchanged('attachment-not-found');
    default:
      return unchanged('impossible');
  }
}

function applyToPolicy(state: ResourceState, op: Extract<ResourceOp, { kind: 'policy-create' | 'policy-delete' }>) {
  const policy = state?.kind === 'policy' ? state : null;
  if (op.kind === 'policy-delete') return { state: null, outcome: policy === null ? 'flow-policy-not-found' : 'done' };
  if (policy === null) return { state: { kind: 'policy', action: op.action }, outcome: 'done' } as const;
  return { state: policy, outcome: policy.action === op.action ? 'existing' : 'name-taken' };
}

export function sameState(a: ResourceState, b: ResourceState): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
