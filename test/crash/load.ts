/**
 * A mixed load by clients that know nothing of the service but its two APIs. Each worker has resources of its own, so
 * that what they must look like follows from its own requests; where it wants a race, it sends several at once.
 *
 * The choices come from the seed; how far the workers come before a kill does not.
 */
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { writePattern } from './bytes.ts';
import { type Call, fieldOf, listOf, textOf } from './call.ts';
import { type Ledger, type NewRequest, operationOutcome, type Part, type Request } from './ledger.ts';
import type { ResourceState } from './model.ts';
import type { Random } from './random.ts';
import type { Service } from './service.ts';
import { loopDevicesOn, loopNumberAt } from './world.ts';

export const poolName = 'small';
export const volumeBytes = 16 * 1024 * 1024;
/** Larger than what the pool has. */
const largeBytes = 20 * 1024 * 1024;
/** A host that registers and is never seen. */
export const awayHost = 'away';

/** What the service calls a resource: needed to send the next request for it. */
export interface Handles {
  readonly volumeId?: string | undefined;
  readonly away?: string | undefined;
  readonly here?: string | undefined;
  /** Ids of mounts, by path. */
  readonly mounts?: Readonly<Record<string, string>>;
  readonly policy?: string | undefined;
}

export interface LoadOptions {
  readonly service: Service;
  readonly ledger: Ledger;
  readonly random: Random;
  readonly workers: number;
  readonly volumesPerWorker: number;
}

type VolumeState = Extract<ResourceState, { kind: 'volume' }>;
type Move = (worker: Worker, name: string, state: VolumeState) => Promise<void>;

const filesPerVolume = 10;
const operationPollMs = 20;

export class Load {
  readonly handles = new Map<string, Handles>();
  readonly #workers: readonly Worker[];
  #running: Promise<unknown> | null = null;
  #stopped = false;

  constructor(options: LoadOptions) {
    this.#workers = Array.from(
      { length: options.workers },
      (_, index) => new Worker(options, this.handles, `w${index}`, () => this.#stopped),
    );
  }

  start(): void {
    this.#stopped = false;
    this.#running = Promise.all(this.#workers.map((worker) => worker.run()));
  }

  /** Resolves when nobody waits for an answer any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }
}

class Worker {
  readonly #options: LoadOptions;
  readonly #handles: Map<string, Handles>;
  readonly #random: Random;
  readonly #names: readonly string[];
  readonly #policies: readonly string[];
  readonly #isStopped: () => boolean;
  readonly #prefix: string;
  #made = 0;
  #lost = false;

  constructor(options: LoadOptions, handles: Map<string, Handles>, prefix: string, isStopped: () => boolean) {
    this.#options = options;
    this.#handles = handles;
    this.#random = options.random.fork();
    this.#prefix = prefix;
    this.#isStopped = isStopped;
    this.#names = Array.from({ length: options.volumesPerWorker }, (_, index) => `${prefix}-v${index}`);
    this.#policies = Array.from({ length: 2 }, (_, index) => `${prefix}-p${index}`);
  }

  /** Until it is stopped, or the service does not answer any more. */
  async run(): Promise<void> {
    this.#lost = false;
    while (!this.#isStopped() && !this.#lost) {
      await this.#step();
      await sleep(this.#random.below(15));
    }
  }

  async #step(): Promise<void> {
    const draw = this.#random.next();
    if (draw < 0.12) return await this.#policy();
    if (draw < 0.24) return await this.#batch();
    const name = this.#random.pickOrNull(this.#names);
    const known = name === null ? null : this.#options.ledger.known(volumeKey(name));
    if (name === null || known === null) return;
    const { state } = known;
    if (state?.kind !== 'volume') return await this.#onAbsent(name);
    // Volumes that have bytes are to change hands: that is where bytes can leak.
    const hasBytes = (this.#options.ledger.files.get(volumeKey(name))?.length ?? 0) > 0;
    if (hasBytes && !state.away && this.#random.chance(0.35)) return await this.#handOn(name, state);
    const moves = state.away ? movesAway : state.mounts.length === 0 ? movesIdle : movesMounted;
    await (this.#random.pickOrNull(moves) ?? moves[0])?.(this, name, state);
  }

  async #handOn(name: string, state: VolumeState): Promise<void> {
    await this.group([state.mounts.length === 0 ? this.removal(name) : this.unmounting(name, state)]);
  }

  async #onAbsent(name: string): Promise<void> {
    const draw = this.#random.next();
    if (draw < 0.1) return await this.group([this.removal(name)]);
    if (draw < 0.3) return await this.group([this.creation(name), this.creation(name)]);
    await this.group([this.creation(name)]);
  }

  async #policy(): Promise<void> {
    const name = this.#random.pickOrNull(this.#policies) ?? '';
    const known = this.#options.ledger.known(policyKey(name));
    if (known === null) return;
    const id = this.#handles.get(policyKey(name))?.policy;
    const isThere = known.state !== null && id !== undefined;
    if (!isThere || this.#random.chance(0.3)) return await this.group([this.policyCreation(name)]);
    const call = { method: 'DELETE', path: `/v1/flow-policies/${id}` };
    await this.group([
      { to: 'controller', call, parts: [{ resource: policyKey(name), op: { kind: 'policy-delete' } }] },
    ]);
  }

  /** Several resources in one request, sometimes with an operation that cannot succeed. */
  async #batch(): Promise<void> {
    const operations: { type: string; params: object }[] = [];
    const parts: Part[] = [];
    const add = (type: string, params: object, part: Part) => {
      operations.push({ type, params });
      parts.push(part);
    };
    for (const name of this.#names) {
      if (this.#random.chance(0.6)) this.#batchVolume(name, add);
    }
    for (const name of this.#policies) {
      const known = this.#options.ledger.known(policyKey(name));
      if (known === null || this.#random.chance(0.5)) continue;
      add('flow-policy.create', policyBody(name, 'permit'), this.#policyPart(name, 'permit'));
    }
    if (operations.length === 0) return;
    const atomicity = this.#random.chance(0.6) ? 'all-or-nothing' : 'per-operation';
    const body = { atomicity, operations };
    const call = { method: 'POST', path: '/v1/operation-batches', body };
    await this.group([this.keyed({ to: 'controller', call, parts, atomic: atomicity === 'all-or-nothing' })]);
  }

  #batchVolume(name: string, add: (type: string, params: object, part: Part) => void): void {
    const known = this.#options.ledger.known(volumeKey(name));
    if (known === null) return;
    const { state } = known;
    const resource = volumeKey(name);
    const attach = { volume: name, host: awayHost, accessMode: 'single-writer' };
    if (state?.kind !== 'volume') {
      const isFutile = this.#random.chance(0.08);
      const { params, op } = this.#creation(name);
      if (isFutile) add('volume.delete', { volume: name }, { resource, op: { kind: 'delete' } });
      else add('volume.create', params, { resource, op });
      if (this.#random.chance(0.25)) add('volume.attach', attach, { resource, op: { kind: 'attach' } });
      return;
    }
    if (state.mounts.length > 0) return;
    const away = this.#handles.get(resource)?.away;
    if (state.away && away !== undefined) {
      add('volume.detach', { attachment: away }, { resource, op: { kind: 'detach' } });
    } else if (!state.away && this.#random.chance(0.3)) {
      add('volume.attach', attach, { resource, op: { kind: 'attach' } });
    } else if (!state.away) {
      add('volume.delete', { volume: name }, { resource, op: { kind: 'delete' } });
    }
  }

  #creation(name: string) {
    this.#made += 1;
    const owner = `${name}.${this.#made}`;
    const pool = this.#random.chance(0.15) ? '' : poolName;
    return { params: creationOf(name, owner, pool), op: { kind: 'create', owner, pool } as const };
  }

  creation(name: string): NewRequest {
    const { params, op } = this.#creation(name);
    const call = { method: 'POST', path: '/v1/volumes', body: params };
    return this.keyed({ to: 'controller', call, parts: [{ resource: volumeKey(name), op }] });
  }

  creationAgain(name: string, { owner, pool }: VolumeState): NewRequest {
    const body = creationOf(name, owner, pool);
    const op = { kind: 'create', owner, pool } as const;
    return {
      to: 'controller',
      call: { method: 'POST', path: '/v1/volumes', body },
      parts: [{ resource: volumeKey(name), op }],
    };
  }

  removal(name: string): NewRequest {
    const call = { method: 'DELETE', path: `/v1/volumes/${name}` };
    return { to: 'controller', call, parts: [{ resource: volumeKey(name), op: { kind: 'delete' } }] };
  }

  attachment(name: string): NewRequest {
    const body = { volume: name, host: awayHost, accessMode: 'single-writer' };
    const call = { method: 'POST', path: '/v1/attachments', body };
    return this.keyed({ to: 'controller', call, parts: [{ resource: volumeKey(name), op: { kind: 'attach' } }] });
  }

  detachment(name: string, where: 'away' | 'here'): NewRequest | null {
    const id = this.#handles.get(volumeKey(name))?.[where];
    if (id === undefined) return null;
    const kind = where === 'away' ? 'detach' : 'detach-here';
    const call = { method: 'DELETE', path: `/v1/attachments/${id}` };
    return { to: 'controller', call, parts: [{ resource: volumeKey(name), op: { kind } }] };
  }

  /** Mostly at the one path; now and then at a second one, which shares the attachment. */
  mounting(name: string): NewRequest {
    const path = join(this.#options.service.mountDirectory, this.#random.chance(0.75) ? name : `${name}-again`);
    const call = { method: 'POST', path: '/v1/mounts', body: { volume: name, path } };
    return { to: 'agent', call, parts: [{ resource: volumeKey(name), op: { kind: 'mount', path } }] };
  }

  unmounting(name: string, { mounts }: VolumeState): NewRequest | null {
    const path = this.#random.pickOrNull(mounts) ?? '';
    const id = this.#handles.get(volumeKey(name))?.mounts?.[path];
    if (id === undefined) return null;
    const call = { method: 'DELETE', path: `/v1/mounts/${id}` };
    return { to: 'agent', call, parts: [{ resource: volumeKey(name), op: { kind: 'unmount', path } }] };
  }

  policyCreation(name: string): NewRequest {
    const action = this.#random.chance(0.8) ? 'permit' : 'deny';
    const call = { method: 'POST', path: '/v1/flow-policies', body: policyBody(name, action) };
    return this.keyed({ to: 'controller', call, parts: [this.#policyPart(name, action)] });
  }

  #policyPart(name: string, action: string): Part {
    return { resource: policyKey(name), op: { kind: 'policy-create', action } };
  }

  /** Two thirds of what can have an idempotency key have one. */
  keyed(wish: NewRequest): NewRequest {
    if (this.#random.chance(0.33)) return wish;
    this.#made += 1;
    const key = `${this.#prefix}-${this.#made}`;
    const call: Call = { ...wish.call, headers: { 'idempotency-key': key } };
    return { ...wish, call, key };
  }

  /** Some do not wait for the outcome: they are answered once the operation is durable. */
  #hurried(wish: NewRequest): NewRequest {
    if (wish.to === 'agent' || !this.#random.chance(0.15)) return wish;
    const headers = { ...wish.call.headers, prefer: 'respond-async' };
    return { ...wish, call: { ...wish.call, headers } };
  }

  /** Sends them together, and waits until each has its outcome or will never have one. */
  async group(wishes: readonly (NewRequest | null)[]): Promise<void> {
    const { ledger } = this.#options;
    const requests = wishes.filter((wish) => wish !== null).map((wish) => ledger.begin(this.#hurried(wish)));
    await Promise.all(requests.map((request) => this.#carryOut(request)));
    ledger.settle(requests);
    for (const request of requests) this.#checkAtOnce(request);
  }

  async mountAndWrite(name: string): Promise<void> {
    await this.group([this.mounting(name)]);
    const state = this.#options.ledger.known(volumeKey(name))?.state;
    if (state?.kind === 'volume') this.write(name, state);
  }

  write(name: string, { owner, mounts }: VolumeState): void {
    const { ledger } = this.#options;
    const resource = volumeKey(name);
    const mount = this.#random.pickOrNull(mounts);
    if (mount === null || (ledger.files.get(resource)?.length ?? 0) >= filesPerVolume) return;
    this.#made += 1;
    const nonce = `n${this.#made}`;
    const written = { file: join(mount, nonce), nonce, sectors: 1 + this.#random.below(64) };
    try {
      writePattern(written.file, owner, written);
      ledger.wrote(resource, { ...written, owner });
    } catch (error) {
      if (!ledger.isCut) ledger.complain('write-failed', `${written.file}: ${String(error)}`);
    }
  }

  async #carryOut(request: Request): Promise<void> {
    const { service, ledger } = this.#options;
    const answer = await service[request.to](request.call);
    ledger.end(request, answer);
    if (answer === null) {
      this.#lost = true;
      return;
    }
    this.#learn(request, answer.body);
    if (request.accepted.length > 0) await this.#follow(request);
  }

  /** Until the operations of a 202 have ended, or the service is gone. */
  async #follow(request: Request): Promise<void> {
    const { service, ledger } = this.#options;
    while (!ledger.isCut) {
      const paths = request.accepted.map((id) => `/v1/operations/${id}`);
      const answers = await Promise.all(paths.map((path) => service.controller({ method: 'GET', path })));
      if (answers.some((answer) => answer === null)) {
        this.#lost = true;
        return;
      }
      const outcomes = answers.map((answer) => operationOutcome(answer?.body));
      if (outcomes.every((outcome) => outcome !== null)) {
        ledger.resolve(request, outcomes);
        this.#learn(request, { operations: answers.map((answer) => answer?.body) });
        return;
      }
      await sleep(operationPollMs);
    }
  }

  #learn(request: Request, body: unknown): void {
    for (const [index, part] of request.parts.entries()) {
      const outcome = request.outcomes[index];
      if (outcome !== 'done' && outcome !== 'existing') continue;
      const operations = listOf(body, 'operations');
      const resource = operations.length > 0 ? fieldOf(operations[index], 'resource') : body;
      const known = this.#handles.get(part.resource) ?? {};
      this.#handles.set(part.resource, { ...known, ...handlesFrom(part, resource, known) });
    }
  }

  /** What must be true of this machine the moment that the answer is there. */
  #checkAtOnce(request: Request): void {
    const { service, ledger } = this.#options;
    const [part] = request.parts;
    if (part === undefined || request.outcomes[0] !== 'done' || !service.running) return;
    const { kind } = part.op;
    const volumeId = this.#handles.get(part.resource)?.volumeId;
    if (volumeId === undefined) return;
    const devices = loopDevicesOn(service.volumesDirectory).filter(({ file }) =>
      basename(file).startsWith(`${volumeId}.`),
    );
    if ((kind === 'unmount' || kind === 'detach-here') && ledger.known(part.resource)?.state !== undefined) {
      const state = ledger.known(part.resource)?.state;
      const isHere = state?.kind === 'volume' && state.mounts.length > 0;
      if (!isHere && devices.length > 0) {
        ledger.complain('device-left-after-detach', `${part.resource}: ${JSON.stringify(devices)} after ${request.id}`);
      }
    }
    if (part.op.kind === 'mount') this.#checkMount(part.resource, part.op.path, devices);
  }

  #checkMount(resource: string, path: string, devices: readonly { readonly number: number }[]): void {
    const state = this.#options.ledger.known(resource)?.state;
    if (state?.kind !== 'volume' || !state.mounts.includes(path)) return;
    const number = loopNumberAt(path);
    if (devices.some((device) => device.number === number)) return;
    this.#options.ledger.complain('mount-of-another-device', `${resource}: ${path} lies on loop ${number}`);
  }
}

/** Without a pool one is made on demand, and destroyed instead of wiped. */
function creationOf(name: string, owner: string, pool: string): object {
  return pool === '' ? { name, sizeBytes: largeBytes, labels: { owner } } : { name, pool, labels: { owner } };
}

export function volumeKey(name: string): string {
  return `volume:${name}`;
}

export function policyKey(name: string): string {
  return `policy:${name}`;
}

function policyBody(namespace: string, action: string): object {
  return { initiatorWwpn: '20:00:00:00:00:00:0a:01', namespace, action };
}

function handlesFrom({ op }: Part, resource: unknown, { mounts = {} }: Handles): Handles {
  switch (op.kind) {
    case 'create':
      return { volumeId: textOf(resource, 'id') };
    case 'attach':
      return { away: textOf(resource, 'id') };
    case 'mount':
      return {
        mounts: { ...mounts, [op.path]: textOf(resource, 'id') },
        here: textOf(resource, 'attachment'),
        volumeId: textOf(resource, 'volumeId'),
      };
    case 'policy-create':
      return { policy: textOf(resource, 'id') };
    case 'detach':
      return { away: undefined };
    case 'unmount':
      return { mounts: Object.fromEntries(Object.entries(mounts).filter(([path]) => path !== op.path)) };
    case 'detach-here':
      return { here: undefined, mounts: {} };
    case 'delete':
      return { away: undefined, here: undefined, mounts: {} };
    default:
      return {};
  }
}

const movesIdle: readonly Move[] = [
  (worker, name) => worker.group([worker.removal(name)]),
  (worker, name) => worker.group([worker.removal(name)]),
  (worker, name) => worker.mountAndWrite(name),
  (worker, name) => worker.mountAndWrite(name),
  (worker, name) => worker.mountAndWrite(name),
  (worker, name) => worker.mountAndWrite(name),
  (worker, name) => worker.mountAndWrite(name),
  (worker, name) => worker.group([worker.attachment(name)]),
  (worker, name) => worker.group([worker.mounting(name), worker.attachment(name)]),
  (worker, name) => worker.group([worker.removal(name), worker.attachment(name)]),
  (worker, name) => worker.group([worker.removal(name), worker.mounting(name)]),
  (worker, name) => worker.group([worker.creation(name)]),
  (worker, name, state) => worker.group([worker.creationAgain(name, state)]),
];

const movesAway: readonly Move[] = [
  (worker, name) => worker.group([worker.detachment(name, 'away')]),
  (worker, name) => worker.group([worker.detachment(name, 'away')]),
  (worker, name) => worker.group([worker.detachment(name, 'away')]),
  (worker, name) => worker.group([worker.mounting(name)]),
  (worker, name) => worker.group([worker.removal(name)]),
  (worker, name) => worker.group([worker.attachment(name)]),
];

const movesMounted: readonly Move[] = [
  async (worker, name, state) => worker.write(name, state),
  async (worker, name, state) => worker.write(name, state),
  async (worker, name, state) => worker.write(name, state),
  (worker, name, state) => worker.group([worker.unmounting(name, state)]),
  (worker, name, state) => worker.group([worker.unmounting(name, state)]),
  (worker, name) => worker.group([worker.detachment(name, 'here')]),
  (worker, name) => worker.group([worker.attachment(name)]),
  (worker, name) => worker.group([worker.removal(name)]),
  (worker, name) => worker.group([worker.mounting(name)]),
  (worker, name, state) => worker.group([worker.unmounting(name, state), worker.removal(name)]),
];
