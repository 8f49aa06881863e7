export type Role = 'admin' | 'operator' | 'host' | 'viewer';
export const roles: readonly Role[] = ['admin', 'operator', 'host', 'viewer'];

/** Who asks. `id` is recorded with every operation and scopes idempotency keys. */
export interface Principal {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  /** The only host that a `host` token may act for. */
  readonly host: string | null;
}

export interface Token {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly host: string | null;
  readonly createdAt: number;
  readonly expiresAt: number | null;
}
