import { assert } from './errors.ts';

/** A state machine is one table: state -> the states that may follow it. */
export type Transitions<S extends string> = Readonly<Record<S, readonly S[]>>;

export function mayFollow<S extends string>(table: Transitions<S>, from: S, to: S): boolean {
  return table[from].includes(to);
}

export function assertTransition<S extends string>(table: Transitions<S>, from: S, to: S, id: string): void {
  assert(mayFollow(table, from, to), `${id}: ${from} -> ${to}`);
}

/** The states from which `to` can be reached in one step: the `WHERE state IN (...)` of a conditional update. */
export function sourcesOf<S extends string>(table: Transitions<S>, to: S): S[] {
  return (Object.keys(table) as S[]).filter((from) => table[from].includes(to));
}

/** The table as a Mermaid state diagram, for the docs. */
export function diagram<S extends string>(table: Transitions<S>): string {
  const lines = (Object.keys(table) as S[]).flatMap((from) => table[from].map((to) => `  ${from} --> ${to}`));
  return ['stateDiagram-v2', ...lines].join('\n');
}
