/**
 * Bearer tokens: how they are made, hashed, and found again without asking the store at every request.
 *
 * A revocation in this process takes effect at once, in another one after the cache's short time to live. An answer of
 * the store that was asked for before a revocation is not kept after it.
 */
import { hash, randomBytes } from 'node:crypto';
import { limits } from '../config/limits.ts';
import type { Principal } from '../domain/principal.ts';
import type { Clock } from '../system/clock.ts';

const prefix = 'fcr_';
const secretPattern = /^fcr_[A-Za-z0-9_-]{43}$/;

/** Shown to its owner once; the store keeps the hash. */
export function newTokenSecret(): string {
  return prefix + randomBytes(32).toString('base64url');
}

export function hashToken(secret: string): string {
  return hash('sha256', secret, 'hex');
}

export type FindPrincipal = (hash: string) => Promise<Principal | null>;

interface Entry {
  readonly principal: Principal;
  readonly until: number;
}

export class TokenCache {
  readonly #find: FindPrincipal;
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();
  #revocations = 0;

  constructor(find: FindPrincipal, clock: Clock) {
    this.#find = find;
    this.#clock = clock;
  }

  async principalOf(secret: string): Promise<Principal | null> {
    if (!secretPattern.test(secret)) return null;
    const hashed = hashToken(secret);
    const entry = this.#entries.get(hashed);
    if (entry !== undefined && entry.until > this.#clock.monotonic()) return entry.principal;
    return await this.#ask(hashed);
  }

  /** After any change of tokens. */
  clear(): void {
    this.#revocations += 1;
    this.#entries.clear();
  }

  async #ask(hashed: string): Promise<Principal | null> {
    const revocations = this.#revocations;
    const principal = await this.#find(hashed);
    this.#entries.delete(hashed);
    if (principal !== null && revocations === this.#revocations) this.#remember(hashed, principal);
    return principal;
  }

  #remember(hashed: string, principal: Principal): void {
    const oldest = this.#entries.keys().next();
    if (this.#entries.size >= limits.tokenCacheEntries && oldest.done !== true) this.#entries.delete(oldest.value);
    this.#entries.set(hashed, { principal, until: this.#clock.monotonic() + limits.tokenCacheMs });
  }
}
