/**
 * Who may do what: one table from route to roles. A route that is not in it stops the program at its start.
 *
 * A `host` token acts for its own host only, and sees what concerns that: its host, its attachments, what it asked for,
 * and volumes, any of which it may have to mount. Where a route is open to it, the handler says which host is meant
 * (`requireOwnHost`). `/readyz` is open because probes hold no tokens, and says nothing but names of parts and reasons;
 * `/metrics` is not, because its labels name pools.
 */
import { Failure } from '../domain/errors.ts';
import type { OperationSpec } from '../domain/operation.ts';
import type { Principal, Role } from '../domain/principal.ts';

export type Access = readonly Role[] | 'anyone';

const everyone: Access = ['admin', 'operator', 'host', 'viewer'];
const readers: Access = ['admin', 'operator', 'viewer'];
export const operators: readonly Role[] = ['admin', 'operator'];
const attachers: Access = ['admin', 'operator', 'host'];
const hosts: readonly Role[] = ['admin', 'host'];
const admins: Access = ['admin'];

export const access: Readonly<Record<string, Access>> = {
  'GET /healthz': 'anyone',
  'GET /readyz': 'anyone',
  'GET /openapi.json': 'anyone',
  'GET /metrics': readers,
  'GET /v1/pools': readers,
  'POST /v1/pools': admins,
  'GET /v1/pools/:name': readers,
  'PATCH /v1/pools/:name': admins,
  'DELETE /v1/pools/:name': admins,
  'GET /v1/volumes': everyone,
  'POST /v1/volumes': operators,
  'GET /v1/volumes/:name': everyone,
  'DELETE /v1/volumes/:name': operators,
  'POST /v1/volumes/:name/clear': operators,
  'GET /v1/attachments': everyone,
  'POST /v1/attachments': attachers,
  'GET /v1/attachments/:id': everyone,
  'DELETE /v1/attachments/:id': attachers,
  'PUT /v1/attachments/:id/host-state': hosts,
  'GET /v1/hosts': readers,
  'GET /v1/hosts/:name': everyone,
  'PUT /v1/hosts/:name': hosts,
  'DELETE /v1/hosts/:name': operators,
  'POST /v1/hosts/:name/inventories/begin': hosts,
  'POST /v1/hosts/:name/inventories': hosts,
  'GET /v1/storage-nodes': readers,
  'GET /v1/storage-nodes/:name': readers,
  'POST /v1/storage-nodes/:name/adopt': admins,
  'GET /v1/targets': readers,
  'GET /v1/flow-policies': readers,
  'POST /v1/flow-policies': operators,
  'GET /v1/flow-policies/:id': readers,
  'PATCH /v1/flow-policies/:id': operators,
  'DELETE /v1/flow-policies/:id': operators,
  'GET /v1/flows/resolve': readers,
  'GET /v1/qos-policies': readers,
  'POST /v1/qos-policies': operators,
  'GET /v1/qos-policies/:name': readers,
  'PUT /v1/qos-policies/:name': operators,
  'DELETE /v1/qos-policies/:name': operators,
  'POST /v1/operation-batches': operators,
  'GET /v1/operation-batches/:id': readers,
  'GET /v1/operations': readers,
  'GET /v1/operations/:id': everyone,
  'GET /v1/events': readers,
  'GET /v1/tokens': admins,
  'POST /v1/tokens': admins,
  'DELETE /v1/tokens/:id': admins,
};

/** Throws for a route that nobody has decided about. The documentation pages are open: they say what the API is. */
export function accessOf(method: string, url: string): Access {
  if (url === '/docs' || url.startsWith('/docs/')) return 'anyone';
  const decided = access[`${method} ${url}`];
  if (decided === undefined) throw new Error(`route ${method} ${url} has no entry in the access table`);
  return decided;
}

export function requireRole(principal: Principal, allowed: readonly Role[]): void {
  if (allowed.includes(principal.role)) return;
  throw new Failure('forbidden', `This needs the role ${allowed.join(' or ')}; the token has ${principal.role}.`);
}

/**
 * Only a host knows about its devices. On anybody else's word a volume that it has would get a second writer (`gone`), or
 * one that it never had would wait for its proof (`claim`).
 */
export function requireHostsWord(principal: Principal, operations: readonly OperationSpec[]): void {
  if (operations.some(isHostsWord)) requireRole(principal, hosts);
}

function isHostsWord({ type, params }: OperationSpec): boolean {
  if (type === 'volume.attach') return params.claim === true;
  return type === 'volume.detach' && params.gone !== undefined;
}

/** For tokens of a host: everything but their own host is closed to them. */
export function requireOwnHost(principal: Principal, host: string | null | undefined): void {
  if (principal.role !== 'host' || (host !== null && host !== undefined && host === principal.host)) return;
  throw new Failure('forbidden', `This token acts for host ${principal.host ?? '(none)'} only.`);
}
