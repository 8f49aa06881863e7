/**
 * What the clients know: every request before it is sent, every answer when it came, and what each resource may look
 * like in between. Kept outside of the service, in a file that is fsynced at each of these moments.
 */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import type { Written } from './bytes.ts';
import type { Answer, Call } from './call.ts';
import { fieldOf, listOf, textOf } from './call.ts';
import {
  isUncertain,
  linearize,
  type Outcome,
  type Possible,
  type RequestPart,
  type ResourceOp,
  type ResourceState,
} from './model.ts';

export interface Complaint {
  readonly code: string;
  readonly detail: string;
}

export interface Part {
  readonly resource: string;
  readonly op: ResourceOp;
}

export interface Request {
  readonly id: number;
  readonly to: 'controller' | 'agent';
  readonly call: Call;
  /** One for each operation, in the request's order. */
  readonly parts: readonly Part[];
  readonly atomic: boolean;
  /** Idempotency key. */
  readonly key: string | null;
  outcomes: readonly Outcome[];
  answer: Answer | null;
  /** Operations that were acknowledged with 202: they must exist and end, whatever happens. */
  accepted: readonly string[];
}

export type NewRequest = Pick<Request, 'to' | 'call' | 'parts'> & { readonly atomic?: boolean; readonly key?: string };

/** A group whose outcome is not known for all of its requests. */
interface Open {
  readonly before: readonly ResourceState[];
  readonly requests: readonly Request[];
}

export interface OwnedFile extends Written {
  readonly owner: string;
}

export class Ledger {
  readonly #descriptor: number;
  readonly #states = new Map<string, readonly ResourceState[]>();
  readonly #open = new Map<string, Open>();
  /** Fsynced by their owners, by volume. */
  readonly files = new Map<string, OwnedFile[]>();
  readonly inFlight = new Set<Request>();
  /** With a key and an answer: what a replay must answer again. */
  readonly answered: Request[] = [];
  /** Bodies of batches as they were acknowledged. */
  readonly batches: { readonly id: string; readonly body: unknown }[] = [];
  /** What was wrong at the moment of an answer. */
  readonly complaints: Complaint[] = [];
  /** While it is true, answers come too late to count: the machine's power is being cut. */
  isCut = false;
  requests = 0;
  acknowledged = 0;
  inDoubt = 0;

  constructor(path: string) {
    this.#descriptor = openSync(path, 'a', 0o600);
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  /** The state if there is only one that is possible. */
  known(resource: string): { readonly state: ResourceState } | null {
    if (this.#open.has(resource)) return null;
    const states = this.#states.get(resource) ?? [null];
    return states.length === 1 ? { state: states[0] ?? null } : null;
  }

  resources(): readonly string[] {
    return [...new Set([...this.#states.keys(), ...this.#open.keys()])];
  }

  /** Durable before the request may be sent. */
  begin(wish: NewRequest): Request {
    this.requests += 1;
    const { to, call, parts, atomic = false, key = null } = wish;
    const request: Request = {
      id: this.requests,
      to,
      call,
      parts,
      atomic,
      key,
      outcomes: parts.map(() => null),
      answer: null,
      accepted: [],
    };
    this.#note({ sent: request.id, to, call, key });
    this.inFlight.add(request);
    return request;
  }

  /** Durable before anybody acts on the answer. */
  end(request: Request, answer: Answer | null): void {
    this.inFlight.delete(request);
    if (answer === null || this.isCut) {
      this.inDoubt += 1;
      return;
    }
    this.#note({ answered: request.id, answer });
    this.acknowledged += 1;
    request.answer = answer;
    request.outcomes = outcomesOf(request, answer);
    this.#checkAtomic(request);
    if (answer.status === 202) request.accepted = acceptedOf(answer.body);
    const batch = textOf(answer.body, 'id');
    if (batch.startsWith('bat_') && answer.status === 200) this.batches.push({ id: batch, body: answer.body });
    if (request.key !== null && answer.status !== 202) this.answered.push(request);
  }

  complain(code: string, detail: string): void {
    this.#note({ complaint: code, detail });
    this.complaints.push({ code, detail });
  }

  /** The file is fsynced; false when that was too late to count. */
  wrote(volume: string, file: OwnedFile): void {
    if (this.isCut) return;
    this.#note({ wrote: volume, ...file });
    this.files.set(volume, [...(this.files.get(volume) ?? []), file]);
  }

  /** What an operation that was accepted came to. */
  resolve(request: Request, outcomes: readonly Outcome[]): void {
    this.#note({ resolved: request.id, outcomes });
    request.outcomes = outcomes;
    this.#checkAtomic(request);
  }

  /** The group has ended as far as it ever will before a restart. */
  settle(requests: readonly Request[]): void {
    for (const resource of new Set(requests.flatMap(({ parts }) => parts.map((part) => part.resource)))) {
      const concerned = requests.filter(({ parts }) => parts.some((part) => part.resource === resource));
      const { before, requests: earlier } = this.#open.get(resource) ?? this.#settledAt(resource);
      const isOpen = [...earlier, ...concerned].some((request) => partOf(request, resource).outcomes.some(isUncertain));
      if (isOpen) this.#open.set(resource, { before, requests: [...earlier, ...concerned] });
      else this.#advance(resource, before, concerned);
    }
  }

  /** Requests whose outcome is not known yet. */
  openRequests(): readonly Request[] {
    return [...new Set([...this.#open.values()].flatMap(({ requests }) => requests))];
  }

  /** Every state that the resource may be in. */
  possible(resource: string): readonly Possible[] {
    const open = this.#open.get(resource);
    if (open === undefined) {
      return (this.#states.get(resource) ?? [null]).map((state) => ({ state, happened: new Map() }));
    }
    return linearize(
      open.before,
      open.requests.map((request) => partOf(request, resource)),
    );
  }

  /** The resource was looked at: that is its state from now on. */
  observe(resource: string, state: ResourceState): void {
    const before = this.#states.get(resource)?.[0] ?? null;
    this.#open.delete(resource);
    this.#states.set(resource, [state]);
    if (ownerOf(before) !== ownerOf(state) || state === null) this.#forgetFilesOfOthers(resource, ownerOf(state));
  }

  #settledAt(resource: string): Open {
    return { before: this.#states.get(resource) ?? [null], requests: [] };
  }

  #checkAtomic({ id, atomic, outcomes }: Request): void {
    const succeeded = outcomes.filter((outcome) => outcome === 'done' || outcome === 'existing').length;
    if (!atomic || outcomes.includes(null) || succeeded === 0 || succeeded === outcomes.length) return;
    this.complain('batch-in-part', `request ${id} is all-or-nothing and was answered ${outcomes.join(' ')}`);
  }

  #advance(resource: string, before: readonly ResourceState[], requests: readonly Request[]): void {
    const parts = requests.map((request) => partOf(request, resource));
    const states = linearize(before, parts).map((possible) => possible.state);
    if (states.length === 0) {
      this.complain('answers-contradict', `${resource}: in no order ${JSON.stringify({ before, parts })}`);
      return;
    }
    this.#states.set(resource, states);
    const [state = null] = states;
    if (states.length === 1) this.#forgetFilesOfOthers(resource, ownerOf(state));
  }

  #forgetFilesOfOthers(resource: string, owner: string | null): void {
    const kept = (this.files.get(resource) ?? []).filter((file) => file.owner === owner);
    this.files.set(resource, kept);
  }

  #note(record: object): void {
    writeSync(this.#descriptor, `${JSON.stringify(record)}\n`);
    fdatasyncSync(this.#descriptor);
  }
}

function ownerOf(state: ResourceState): string | null {
  return state?.kind === 'volume' ? state.owner : null;
}

export function partOf(request: Request, resource: string): RequestPart {
  const indexes = request.parts.flatMap((part, index) => (part.resource === resource ? [index] : []));
  return {
    request: request.id,
    ops: indexes.flatMap((index) => request.parts[index]?.op ?? []),
    outcomes: indexes.map((index) => request.outcomes[index] ?? null),
    atomic: request.atomic,
  };
}

export function outcomesOf({ parts }: Pick<Request, 'parts'>, { status, body }: Answer): readonly Outcome[] {
  const operations = listOf(body, 'operations');
  if (operations.length > 0) return operations.map(operationOutcome);
  if (status === 202) return parts.map(() => null);
  if (status >= 400) return parts.map(() => textOf(body, 'code') || `status-${status}`);
  return parts.map(() => (status === 200 ? 'existing' : 'done'));
}

/** Null while it runs. */
export function operationOutcome(operation: unknown): Outcome {
  const state = fieldOf(operation, 'state');
  if (state === 'succeeded') return fieldOf(operation, 'existing') === true ? 'existing' : 'done';
  return state === 'failed' ? textOf(fieldOf(operation, 'problem'), 'code') : null;
}

function acceptedOf(body: unknown): readonly string[] {
  const operations = listOf(body, 'operations');
  return operations.length > 0 ? operations.map((each) => textOf(each, 'id')) : [textOf(body, 'id')];
}
