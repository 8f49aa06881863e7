/**
 * The controller's REST API as typed methods; what the agent, `fcr` and the plugins speak to it with.
 *
 * Every call has a deadline and throws `Failure`. Calls that make or change something carry an Idempotency-Key of their
 * own, so that they can be tried again after a connection broke. A method that makes something waits until it is made:
 * an answer "accepted, still running" is followed up to the call's deadline.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { json } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { limits } from '../config/limits.ts';
import type { AccessMode, Attachment, HostStateReport } from '../domain/attachment.ts';
import { Failure } from '../domain/errors.ts';
import type { Event } from '../domain/event.ts';
import type { FlowPolicy } from '../domain/flow-policy.ts';
import type { Host, HostInventoryReport, HostRegistration, InventoryBegun, StorageNode } from '../domain/host.ts';
import type { Pool } from '../domain/pool.ts';
import type { Token } from '../domain/principal.ts';
import type { QosPolicy } from '../domain/qos-policy.ts';
import type { Volume } from '../domain/volume.ts';
import type { FlowDecision, Page } from '../store/store.ts';
import { type EventStream, eventsFollowed, eventsOf } from './client-events.ts';
import {
  type Answer,
  type Call,
  ClientTransport,
  failureOf,
  type Query,
  type TransportOptions,
  unavailable,
} from './client-transport.ts';
import type { FlowPolicyChangeBody } from './schema/flow-policy.ts';
import type { InventoryAnswer, Target } from './schema/host.ts';
import type { BatchView, OperationView } from './schema/operation.ts';
import type { NewPoolBody, PoolChangeBody } from './schema/pool.ts';
import type { NewQosPolicyBody, QosLimitsBody } from './schema/qos-policy.ts';
import type { Readiness } from './schema/status.ts';
import type { CreatedToken, NewTokenBody } from './schema/token.ts';

export interface CallOptions {
  readonly deadlineMs?: number;
}

/** `waitMs` 0: answered as soon as it is durable. */
export interface WaitOptions extends CallOptions {
  readonly waitMs?: number;
}

export interface DetachOptions extends WaitOptions {
  readonly force?: boolean;
  /** From the host itself: its device of this epoch is proved to be gone. */
  readonly gone?: { readonly epoch: number; readonly proof: string };
}

export interface ListOptions extends CallOptions {
  readonly pageSize?: number;
  readonly pageToken?: string;
}

export interface NewVolume {
  readonly name: string;
  readonly sizeBytes?: number | string;
  readonly pool?: string;
  readonly qosPolicy?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface NewAttachment {
  readonly volume: string;
  readonly host: string;
  readonly accessMode?: AccessMode;
  readonly namespace?: string;
  readonly claim?: boolean;
}

export interface NewFlowPolicy {
  readonly initiatorWwpn?: string;
  readonly targetWwpn?: string;
  readonly namespace?: string;
  readonly action: 'permit' | 'deny' | 'redirect';
  readonly redirectTo?: string;
  readonly qosPolicy?: string;
}

export interface BatchRequest {
  readonly atomicity?: 'per-operation' | 'all-or-nothing';
  readonly operations: readonly { readonly type: string; readonly params: object }[];
}

export interface ClientOptions extends TransportOptions {
  /** Until an operation has ended; where that is short, the controller is asked to answer before. */
  readonly operationMs?: number;
}

interface Made<T> {
  readonly resource: T;
  /** It was there before. */
  readonly existing: boolean;
}

export class ControllerClient {
  readonly #transport: ClientTransport;
  readonly #operationMs: number;

  constructor(options: ClientOptions) {
    this.#transport = new ClientTransport(options);
    this.#operationMs = options.operationMs ?? limits.clientDeadlineMs;
  }

  close(): void {
    this.#transport.close();
  }

  // pools

  poolCreate(pool: NewPoolBody, options: CallOptions = {}): Promise<Pool> {
    return this.#send<Pool>('POST', '/v1/pools', pool, options);
  }
  poolGet(name: string): Promise<Pool | null> {
    return this.#get<Pool>(`/v1/pools/${part(name)}`);
  }
  poolList(options: ListOptions = {}): Promise<Page<Pool>> {
    return this.#page<Pool>('/v1/pools', {}, options);
  }
  poolUpdate(name: string, change: PoolChangeBody, ifVersion: number | null = null): Promise<Pool> {
    return this.#send<Pool>('PATCH', `/v1/pools/${part(name)}`, change, {}, ifMatch(ifVersion));
  }
  poolDelete(name: string): Promise<void> {
    return this.#delete(`/v1/pools/${part(name)}`);
  }

  // volumes

  async volumeCreate(volume: NewVolume, options: WaitOptions = {}): Promise<Volume> {
    return (await this.#operate<Volume>('/v1/volumes', volume, options)).resource;
  }
  volumeGet(nameOrId: string): Promise<Volume | null> {
    return this.#get<Volume>(`/v1/volumes/${part(nameOrId)}`);
  }
  volumeList(
    filter: { readonly state?: string; readonly pool?: string; readonly host?: string; readonly label?: string } = {},
    options: ListOptions = {},
  ): Promise<Page<Volume>> {
    return this.#page<Volume>('/v1/volumes', filter, options);
  }
  volumeDelete(nameOrId: string, options: WaitOptions = {}): Promise<void> {
    const isFollowed = options.waitMs !== 0;
    return this.#remove(`/v1/volumes/${part(nameOrId)}`, {}, { ...options, isFollowed });
  }
  /** Throws why no volume at all could be deleted (`forbidden`, `controller-unavailable`). Changes nothing. */
  async volumeDeletable(): Promise<void> {
    // Who asks is looked at before what is asked for, and no volume's name is a control character.
    await this.#delete(`/v1/volumes/${part('\n')}`).catch((error: unknown) => {
      if (!(error instanceof Failure) || error.code !== 'invalid-request') throw error;
    });
  }
  volumeClear(nameOrId: string): Promise<Volume> {
    return this.#send<Volume>('POST', `/v1/volumes/${part(nameOrId)}/clear`, undefined);
  }

  // attachments

  async attachmentCreate(request: NewAttachment, options: WaitOptions = {}): Promise<Attachment> {
    return (await this.#operate<Attachment>('/v1/attachments', request, options)).resource;
  }
  /** `existing`: it was there before. */
  async attachmentGrant(
    request: NewAttachment,
    options: WaitOptions = {},
  ): Promise<Attachment & { readonly existing: boolean }> {
    const { resource, existing } = await this.#operate<Attachment>('/v1/attachments', request, options);
    return { ...resource, existing };
  }
  attachmentGet(id: string): Promise<Attachment | null> {
    return this.#get<Attachment>(`/v1/attachments/${part(id)}`);
  }
  attachmentPage(
    filter: { readonly state?: string; readonly host?: string; readonly volume?: string } = {},
    options: ListOptions = {},
  ): Promise<Page<Attachment>> {
    return this.#page<Attachment>('/v1/attachments', filter, options);
  }
  attachmentList(filter: { readonly host: string; readonly state?: string }): Promise<readonly Attachment[]> {
    return collectPages((pageToken) => this.attachmentPage(filter, { pageSize: limits.pageSizeMax, ...pageToken }));
  }
  /** Absent is success. `waitMs` 0: answered when the detach is durable; otherwise waits until it has ended. */
  async attachmentDelete(id: string, options: DetachOptions = {}): Promise<void> {
    const { force, gone } = options;
    const query = {
      ...(force === true ? { force: true } : {}),
      ...(gone === undefined ? {} : { goneEpoch: gone.epoch, goneProof: gone.proof }),
    };
    try {
      await this.#remove(`/v1/attachments/${part(id)}`, query, options);
    } catch (error) {
      if (!(error instanceof Failure) || error.code !== 'attachment-not-found') throw error;
    }
  }
  hostStateReport(report: HostStateReport): Promise<Attachment> {
    const { attachment, side, ...rest } = report;
    return this.#send<Attachment>('PUT', `/v1/attachments/${part(attachment)}/host-state`, { ...rest, state: side });
  }

  // hosts and storage nodes

  hostRegister(announcement: HostRegistration): Promise<Host> {
    const { name, ...body } = announcement;
    return this.#send<Host>('PUT', `/v1/hosts/${part(name)}`, body);
  }
  hostGet(name: string): Promise<Host | null> {
    return this.#get<Host>(`/v1/hosts/${part(name)}`);
  }
  hostList(options: ListOptions = {}): Promise<Page<Host>> {
    return this.#page<Host>('/v1/hosts', {}, options);
  }
  hostDelete(name: string): Promise<void> {
    return this.#delete(`/v1/hosts/${part(name)}`);
  }
  inventoryBegin(host: string): Promise<InventoryBegun> {
    return this.#send<InventoryBegun>('POST', `/v1/hosts/${part(host)}/inventories/begin`, undefined);
  }
  inventoryReport(report: HostInventoryReport): Promise<InventoryAnswer> {
    const { host, ...body } = report;
    return this.#send<InventoryAnswer>('POST', `/v1/hosts/${part(host)}/inventories`, body);
  }
  /** Binds the node's data to this controller's store (`fcr adopt`). */
  async storageNodeAdopt(name: string): Promise<void> {
    await this.#send('POST', `/v1/storage-nodes/${part(name)}/adopt`, undefined);
  }
  storageNodeGet(name: string): Promise<StorageNode | null> {
    return this.#get<StorageNode>(`/v1/storage-nodes/${part(name)}`);
  }
  storageNodeList(options: ListOptions = {}): Promise<Page<StorageNode>> {
    return this.#page<StorageNode>('/v1/storage-nodes', {}, options);
  }
  targetList(options: ListOptions = {}): Promise<Page<Target>> {
    return this.#page<Target>('/v1/targets', {}, options);
  }

  // policies

  async flowPolicyCreate(policy: NewFlowPolicy, options: WaitOptions = {}): Promise<FlowPolicy> {
    return (await this.#operate<FlowPolicy>('/v1/flow-policies', policy, options)).resource;
  }
  flowPolicyGet(id: string): Promise<FlowPolicy | null> {
    return this.#get<FlowPolicy>(`/v1/flow-policies/${part(id)}`);
  }
  flowPolicyList(
    filter: { readonly namespace?: string; readonly initiatorWwpn?: string; readonly targetWwpn?: string } = {},
    options: ListOptions = {},
  ): Promise<Page<FlowPolicy>> {
    return this.#page<FlowPolicy>('/v1/flow-policies', filter, options);
  }
  flowPolicyUpdate(id: string, change: FlowPolicyChangeBody, ifVersion: number): Promise<FlowPolicy> {
    return this.#send<FlowPolicy>('PATCH', `/v1/flow-policies/${part(id)}`, change, {}, ifMatch(ifVersion));
  }
  flowPolicyDelete(id: string, options: WaitOptions & { readonly ifVersion?: number } = {}): Promise<void> {
    return this.#remove(`/v1/flow-policies/${part(id)}`, {}, options, ifMatch(options.ifVersion ?? null));
  }
  async flowResolve(question: {
    readonly initiatorWwpn: string;
    readonly targetWwpn: string;
    readonly namespace?: string;
  }): Promise<FlowDecision> {
    const call = { method: 'GET', path: '/v1/flows/resolve', query: question, repeatable: true } as const;
    return (await this.#transport.call(call)).body as FlowDecision;
  }
  qosPolicyCreate(policy: NewQosPolicyBody): Promise<QosPolicy> {
    return this.#send<QosPolicy>('POST', '/v1/qos-policies', policy);
  }
  qosPolicyGet(name: string): Promise<QosPolicy | null> {
    return this.#get<QosPolicy>(`/v1/qos-policies/${part(name)}`);
  }
  qosPolicyList(options: ListOptions = {}): Promise<Page<QosPolicy>> {
    return this.#page<QosPolicy>('/v1/qos-policies', {}, options);
  }
  qosPolicyUpdate(name: string, qos: QosLimitsBody, ifVersion: number): Promise<QosPolicy> {
    return this.#send<QosPolicy>('PUT', `/v1/qos-policies/${part(name)}`, qos, {}, ifMatch(ifVersion));
  }
  qosPolicyDelete(name: string, ifVersion: number | null = null): Promise<void> {
    return this.#delete(`/v1/qos-policies/${part(name)}`, ifMatch(ifVersion));
  }

  // operations

  /** Answers when the batch has ended, or after `waitMs` with how far it is. */
  async batchSubmit(batch: BatchRequest, options: WaitOptions & { readonly key?: string } = {}): Promise<BatchView> {
    const answer = await this.#post('/v1/operation-batches', batch, options, options.key);
    return answer.body as BatchView;
  }
  batchGet(id: string): Promise<BatchView | null> {
    return this.#get<BatchView>(`/v1/operation-batches/${part(id)}`);
  }
  operationGet(id: string): Promise<OperationView | null> {
    return this.#get<OperationView>(`/v1/operations/${part(id)}`);
  }
  operationList(
    filter: { readonly state?: string; readonly type?: string } = {},
    options: ListOptions = {},
  ): Promise<Page<OperationView>> {
    return this.#page<OperationView>('/v1/operations', filter, options);
  }

  // tokens and the service itself

  tokenCreate(token: NewTokenBody): Promise<CreatedToken> {
    return this.#send<CreatedToken>('POST', '/v1/tokens', token);
  }
  tokenList(options: ListOptions = {}): Promise<Page<Token>> {
    return this.#page<Token>('/v1/tokens', {}, options);
  }
  tokenDelete(id: string): Promise<void> {
    return this.#delete(`/v1/tokens/${part(id)}`);
  }
  /** Also answers when the controller is not ready. */
  async readiness(): Promise<Readiness> {
    const call = { method: 'GET', path: '/readyz', repeatable: true, alsoAnswer: 503 } as const;
    return (await this.#transport.call(call)).body as Readiness;
  }
  async metricsText(): Promise<string> {
    return String((await this.#transport.call({ method: 'GET', path: '/metrics', repeatable: true })).body);
  }

  /** Changes of state after the cursor (absent: from now on), until the signal or the connection ends it. */
  async *events(after: string | null, signal: AbortSignal): AsyncGenerator<Event> {
    yield* eventsOf(await this.#stream({ query: { after } }, signal));
  }
  /** The same, resumed where it ended whenever the connection ends: until the signal. `onLost`: with the reason. */
  eventsFollowed(
    after: string | null,
    { signal, onLost }: { readonly signal: AbortSignal; readonly onLost: (reason: string) => void },
  ): AsyncGenerator<Event> {
    const open = this.#resumable(signal);
    return eventsFollowed(open, { after, signal, onLost });
  }

  #resumable(signal: AbortSignal): EventStream {
    const stream = (from: Pick<Call, 'query' | 'headers'>) => this.#stream(from, signal);
    return async function* ({ cursor, resumed }, onCursor) {
      const from = resumed && cursor !== null ? { headers: { 'last-event-id': cursor } } : { query: { after: cursor } };
      yield* eventsOf(await stream(from), onCursor);
    };
  }

  async #stream(from: Pick<Call, 'query' | 'headers'>, signal: AbortSignal): Promise<AsyncIterable<Buffer>> {
    const call = { method: 'GET', path: '/v1/events', repeatable: true, ...from } as const;
    const response = await this.#transport.open(call, signal);
    if (response.statusCode !== 200) throw await refusedStream(response);
    return bytesOf(response);
  }

  async #get<T>(path: string): Promise<T | null> {
    try {
      return (await this.#transport.call({ method: 'GET', path, repeatable: true })).body as T;
    } catch (error) {
      if (error instanceof Failure && error.code.endsWith('-not-found') && error.code !== 'route-not-found')
        return null;
      throw error;
    }
  }

  async #page<T>(path: string, filter: Query, options: ListOptions): Promise<Page<T>> {
    const { deadlineMs, ...page } = options;
    const query = { ...filter, ...page };
    return (await this.#transport.call({ method: 'GET', path, query, repeatable: true, ...deadline(deadlineMs) }))
      .body as Page<T>;
  }

  async #send<T>(
    method: 'POST' | 'PUT' | 'PATCH',
    path: string,
    body: unknown,
    options: CallOptions = {},
    headers: Record<string, string> = {},
  ): Promise<T> {
    // A PATCH or PUT under If-Match that is tried again could meet its own effect and be told that it lost.
    const repeatable = method !== 'PATCH' && headers['if-match'] === undefined;
    const key: Record<string, string> = method === 'POST' ? { 'idempotency-key': randomUUID() } : {};
    const call = { method, path, body, headers: { ...headers, ...key }, repeatable, ...deadline(options.deadlineMs) };
    return (await this.#transport.call(call)).body as T;
  }

  async #delete(path: string, headers: Record<string, string> = {}): Promise<void> {
    await this.#transport.call({ method: 'DELETE', path, headers, repeatable: true });
  }

  #post(path: string, body: unknown, options: WaitOptions, key: string = randomUUID()): Promise<Answer> {
    const headers = { 'idempotency-key': key, ...this.#prefer(options) };
    return this.#transport.call({
      method: 'POST',
      path,
      body,
      headers,
      repeatable: true,
      ...deadline(options.deadlineMs),
    });
  }

  async #operate<T>(path: string, body: unknown, options: WaitOptions): Promise<Made<T>> {
    const endsAt = performance.now() + (options.deadlineMs ?? this.#operationMs);
    const answer = await this.#post(path, body, options);
    if (answer.status !== 202) return { resource: answer.body as T, existing: answer.status === 200 };
    const { resource, existing } = await this.#follow(answer.body as OperationView, endsAt);
    return { resource: resource as T, existing };
  }

  async #remove(
    path: string,
    query: Query,
    options: WaitOptions & { readonly isFollowed?: boolean },
    headers: Record<string, string> = {},
  ): Promise<void> {
    const { isFollowed = options.waitMs === undefined } = options;
    const endsAt = performance.now() + (options.deadlineMs ?? this.#operationMs);
    const sent = { ...headers, ...this.#prefer(options) };
    const call = {
      method: 'DELETE',
      path,
      query,
      headers: sent,
      repeatable: true,
      ...deadline(options.deadlineMs),
    } as const;
    const answer = await this.#transport.call(call);
    if (answer.status === 202 && isFollowed) await this.#follow(answer.body as OperationView, endsAt);
  }

  /** Who waits for a short time is told that the operation is under way, rather than nothing. */
  #prefer({ waitMs }: WaitOptions): Record<string, string> {
    if (waitMs !== undefined) return prefer(waitMs);
    const halfMs = 1000 * Math.floor(this.#operationMs / 2000);
    return halfMs < limits.waitMs ? prefer(halfMs) : {};
  }

  async #follow(accepted: OperationView, endsAt: number): Promise<OperationView> {
    let operation = accepted;
    for (let pauseMs: number = limits.clientBackoffMs; ; pauseMs = Math.min(pauseMs * 2, limits.clientBackoffMaxMs)) {
      if (operation.problem !== undefined) throw failureOf(operation.problem.status, operation.problem);
      if (operation.state === 'succeeded') return operation;
      if (performance.now() + pauseMs > endsAt) throw stillRunning(operation);
      await pause(pauseMs);
      operation = (await this.operationGet(operation.id)) ?? operation;
    }
  }
}

async function refusedStream(response: IncomingMessage): Promise<Failure> {
  const body = await json(response).catch(() => null);
  return failureOf(response.statusCode ?? 0, body);
}

async function* bytesOf(response: IncomingMessage): AsyncGenerator<Buffer> {
  // A connection that only one side believes in: the controller sends heartbeats.
  response.setTimeout(limits.eventSilenceMs, () => response.destroy(new Error('it has been silent for too long')));
  try {
    yield* response;
  } catch (error) {
    throw unavailable(error);
  }
}

function stillRunning(operation: OperationView): Failure {
  const detail = `Operation ${operation.id} was accepted and has not ended yet.`;
  return new Failure('deadline-exceeded', detail, { related: { operation: operation.id } });
}

function part(name: string): string {
  return encodeURIComponent(name);
}

function ifMatch(version: number | null): Record<string, string> {
  return version === null ? {} : { 'if-match': `"${version}"` };
}

function deadline(deadlineMs: number | undefined): { readonly deadlineMs?: number } {
  return deadlineMs === undefined ? {} : { deadlineMs };
}

function prefer(waitMs: number): Record<string, string> {
  return { prefer: waitMs === 0 ? 'respond-async' : `wait=${Math.ceil(waitMs / 1000)}` };
}

async function collectPages<T>(page: (next: { pageToken?: string }) => Promise<Page<T>>): Promise<readonly T[]> {
  const items: T[] = [];
  for (let pageToken: string | null | undefined; pageToken !== null; ) {
    const answer: Page<T> = await page(pageToken === undefined ? {} : { pageToken });
    items.push(...answer.items);
    pageToken = answer.nextPageToken;
  }
  return items;
}
