import type { Problem } from '../../domain/errors.ts';
import type { Store } from '../store.ts';

/** What crosses between the thread that owns the store and the rest of the process. */
export type StoreMethod = Exclude<keyof Store, 'close'>;

export interface StoreCall {
  readonly id: number;
  readonly method: StoreMethod | 'close';
  readonly args: readonly unknown[];
}

export type StoreMessage =
  | { readonly kind: 'ready' }
  /** It could not be opened, through no fault of its own. */
  | { readonly kind: 'unopened'; readonly problem: Problem }
  /** The store can no longer be trusted: the process must end. */
  | { readonly kind: 'fatal'; readonly message: string }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'refusal'; readonly id: number; readonly problem: Problem }
  | { readonly kind: 'error'; readonly id: number; readonly message: string; readonly stack: string };
