/**
 * A control plane in memory for tests of the HTTP layer alone. Operations are carried out when they are accepted.
 *
 * Faults that it can show: batches that do not end (`hold`), a store that does not answer (`failStore`), parts that are
 * not ready (`unready`), a journal that is full (`full`).
 */
import type { Attachment } from '../../src/domain/attachment.ts';
import { type ErrorCode, Failure, problem } from '../../src/domain/errors.ts';
import type { Event } from '../../src/domain/event.ts';
import type { FlowPolicy } from '../../src/domain/flow-policy.ts';
import type { Host, StorageNode } from '../../src/domain/host.ts';
import { newId, newSerial, wwidOf } from '../../src/domain/ids.ts';
import type { Batch, Operation, OperationOutcome, OperationSpec } from '../../src/domain/operation.ts';
import type { Pool } from '../../src/domain/pool.ts';
import type { Principal, Token } from '../../src/domain/principal.ts';
import type { QosPolicy } from '../../src/domain/qos-policy.ts';
import type { Volume } from '../../src/domain/volume.ts';
import type { ControlPlane, Unready } from '../../src/operations/control-plane.ts';
import type {
  AcceptAnswer,
  IdempotentRequest,
  NewBatch,
  Page,
  PageRequest,
  RememberedAnswer,
  Store,
} from '../../src/store/store.ts';

export class FakeControlPlane {
  hold = false;
  full = false;
  unready: Unready[] = [];
  readonly pools = new Map<string, Pool>();
  readonly volumes = new Map<string, Volume>();
  readonly attachments = new Map<string, Attachment>();
  readonly flows = new Map<string, FlowPolicy>();
  readonly qos = new Map<string, QosPolicy>();
  readonly hosts = new Map<string, Host>();
  readonly nodes = new Map<string, StorageNode>();
  readonly tokens = new Map<string, Token & { readonly hash: string }>();
  readonly batches = new Map<string, Batch>();
  readonly keys = new Map<string, { readonly bodyHash: string; readonly batch: string }>();
  readonly remembered = new Map<string, { readonly bodyHash: string; answer: RememberedAnswer | null }>();
  readonly events: Event[] = [];
  tokenFinds = 0;
  readonly #held: [NewBatch, readonly OperationSpec[]][] = [];

  /** Everything that a request could change, as text. */
  state(): string {
    const { pools, volumes, attachments, flows, qos, hosts, nodes, tokens, batches } = this;
    const all = { pools, volumes, attachments, flows, qos, hosts, nodes, tokens, batches };
    return JSON.stringify(Object.entries(all).map(([kind, map]) => [kind, [...map.entries()]]));
  }

  controlPlane(): ControlPlane {
    return {
      store: this.#store(),
      intake: {
        accept: async (batch) => this.#accept(batch),
        waitEnded: async (id) => {
          const batch = this.batches.get(id);
          return batch?.state === 'ended' ? batch : null;
        },
      },
      readiness: async () => this.unready,
      nudge: () => undefined,
      wake: () => undefined,
      adopt: async (name) => {
        if (!this.nodes.has(name)) throw new Failure('storage-node-not-found', `There is no storage node ${name}.`);
      },
    };
  }

  /** Carries out what was held. */
  release(): void {
    this.hold = false;
    for (const [batch, specs] of this.#held.splice(0)) {
      const operations = specs.map((spec, index) => this.#operation(batch, spec, index));
      const known = this.batches.get(batch.id);
      if (known !== undefined) this.batches.set(batch.id, { ...known, state: 'ended', operations, endedAt: 2 });
    }
  }

  emit(kind: Event['kind'], id: string, state: string): void {
    this.events.push({ cursor: `${this.events.length + 1}.0`, at: 1, kind, id, name: null, state });
  }

  #accept(batch: NewBatch): AcceptAnswer {
    if (this.full) return { accepted: false, problem: problem('journal-full', 'Too many operations are waiting.') };
    if (batch.idempotency !== null) {
      const key = `${batch.principal.id} ${batch.idempotency.route} ${batch.idempotency.key}`;
      const known = this.keys.get(key);
      const { bodyHash } = batch.idempotency;
      if (known !== undefined && known.bodyHash !== bodyHash) {
        return { accepted: false, problem: problem('idempotency-key-reused', 'The key was used before.') };
      }
      if (known !== undefined) return { accepted: true, batch: known.batch, replay: true };
      this.keys.set(key, { bodyHash, batch: batch.id });
    }
    const operations = batch.operations.map((spec, index) => this.#operation(batch, spec, index));
    const state = this.hold ? 'accepted' : 'ended';
    if (this.hold) this.#held.push([batch, batch.operations]);
    const { id, atomicity } = batch;
    const times = { acceptedAt: 1, endedAt: this.hold ? null : 2 };
    this.batches.set(id, {
      id,
      atomicity,
      state,
      decision: null,
      operations,
      requestedBy: batch.principal.id,
      ...times,
    });
    return { accepted: true, batch: id, replay: false };
  }

  #operation(batch: NewBatch, spec: OperationSpec, index: number): Operation {
    const fixed = {
      id: `${batch.id}-${index}`,
      batch: batch.id,
      type: spec.type,
      requestedBy: batch.principal.id,
      acceptedAt: 1,
      endedAt: this.hold ? null : 2,
    };
    const nothing = { resource: null, existing: false, problem: null };
    if (this.hold) return { ...fixed, ...nothing, state: 'accepted' };
    const outcome = this.#carryOut(spec);
    return { ...fixed, ...nothing, ...outcome };
  }

  #carryOut(spec: OperationSpec): OperationOutcome {
    switch (spec.type) {
      case 'volume.create':
        return this.#volumeCreate(spec.params);
      case 'volume.delete': {
        const volume = this.#volume(spec.params.volume);
        if (volume === null) return failed('volume-not-found', `There is no volume ${spec.params.volume}.`);
        this.volumes.delete(volume.id);
        return done(null);
      }
      case 'volume.attach':
        return this.#attach(spec.params);
      case 'volume.detach':
        if (this.attachments.delete(spec.params.attachment)) return done(null);
        return failed('attachment-not-found', 'There is no such attachment.');
      case 'flow-policy.create':
        return this.#flowCreate(spec.params);
      case 'flow-policy.delete':
        return this.#flowDelete(spec.params.flowPolicy, spec.params.ifVersion);
    }
  }

  #volumeCreate(params: Extract<OperationSpec, { type: 'volume.create' }>['params']): OperationOutcome {
    const existing = this.#volume(params.name);
    const sizeBytes = params.sizeBytes ?? 2 ** 30;
    if (existing !== null) {
      if (existing.sizeBytes !== sizeBytes) return failed('name-taken', 'The name is in use.');
      return { state: 'succeeded', resource: { kind: 'volume', ...existing }, existing: true };
    }
    const volume = newVolume(params.name, sizeBytes);
    this.volumes.set(volume.id, volume);
    return done({ kind: 'volume', ...volume });
  }

  #attach(params: Extract<OperationSpec, { type: 'volume.attach' }>['params']): OperationOutcome {
    const volume = this.#volume(params.volume);
    if (volume === null) return failed('volume-not-found', `There is no volume ${params.volume}.`);
    const attachment = newAttachment(volume, params.host);
    this.attachments.set(attachment.id, attachment);
    return done({ kind: 'attachment', ...attachment });
  }

  #flowCreate(params: Extract<OperationSpec, { type: 'flow-policy.create' }>['params']): OperationOutcome {
    const flow: FlowPolicy = {
      id: newId('flow'),
      initiatorWwpn: params.initiatorWwpn ?? null,
      targetWwpn: params.targetWwpn ?? null,
      namespace: params.namespace ?? null,
      action: params.action,
      redirectTo: params.redirectTo ?? null,
      qosPolicy: params.qosPolicy ?? null,
      state: 'active',
      version: 1,
      createdAt: 1,
    };
    this.flows.set(flow.id, flow);
    return done({ kind: 'flow-policy', ...flow });
  }

  #flowDelete(id: string, ifVersion: number | undefined): OperationOutcome {
    const flow = this.flows.get(id);
    if (flow === undefined) return failed('flow-policy-not-found', `There is no flow policy ${id}.`);
    if (ifVersion !== undefined && ifVersion !== flow.version) return failed('etag-mismatch', 'It has changed.');
    this.flows.delete(id);
    return done(null);
  }

  #volume(nameOrId: string): Volume | null {
    return [...this.volumes.values()].find(({ id, name }) => id === nameOrId || name === nameOrId) ?? null;
  }

  #store(): Store {
    const store: Partial<Store> = {
      ...this.#journal(),
      ...this.#resources(),
      ...this.#policies(),
      ...this.#machines(),
      ...this.#access(),
    };
    return new Proxy(store as Store, {
      get: (target, name) => {
        const method: unknown = Reflect.get(target, name);
        return method ?? (() => Promise.reject(new Failure('not-supported', `The fake has no ${String(name)}.`)));
      },
    });
  }

  #journal(): Partial<Store> {
    return {
      batchGet: async (id) => this.batches.get(id) ?? null,
      operationGet: async (id) => this.#operations().find((operation) => operation.id === id) ?? null,
      operationList: async (filter, request) => {
        const matching = this.#operations().filter(({ state }) => (filter.state ?? state) === state);
        return page(matching, request);
      },
      idempotencyBegin: async (request) => {
        const key = keyOf(request);
        const known = this.remembered.get(key);
        if (known === undefined) this.remembered.set(key, { bodyHash: request.bodyHash, answer: null });
        if (known !== undefined && known.bodyHash !== request.bodyHash) {
          throw new Failure('idempotency-key-reused', 'The key was used before.');
        }
        return { first: known === undefined, answer: known?.answer ?? null };
      },
      idempotencyEnd: async (request, answer) => {
        const known = this.remembered.get(keyOf(request));
        if (known !== undefined) known.answer ??= answer;
      },
    };
  }

  #operations(): readonly Operation[] {
    return [...this.batches.values()].flatMap((batch) => batch.operations);
  }

  #resources(): Partial<Store> {
    return {
      poolCreate: async (wanted) => {
        const existing = this.pools.get(wanted.name);
        if (existing !== undefined) {
          const equal = existing.volumeSizeBytes === wanted.volumeSizeBytes && existing.minFree === wanted.minFree;
          if (!equal) throw new Failure('name-taken', 'The name is in use.');
          return { resource: existing, existing: true };
        }
        const pool: Pool = { ...poolDefaults(), ...wanted, id: newId('pool') };
        this.pools.set(pool.name, pool);
        return { resource: pool, existing: false };
      },
      poolGet: async (name) => this.pools.get(name) ?? null,
      poolList: async (request) => page([...this.pools.values()], request),
      poolUpdate: async (name, change, ifVersion) => {
        const pool = changed(this.pools.get(name), 'pool-not-found', ifVersion);
        const updated: Pool = { ...pool, ...change, version: pool.version + 1 };
        this.pools.set(name, updated);
        return updated;
      },
      poolDelete: async (name) => {
        if (!this.pools.delete(name)) throw new Failure('pool-not-found', `There is no pool ${name}.`);
        return { removed: true };
      },
      volumeGet: async (name) => this.#volume(name),
      volumeList: async (_filter, request) => page([...this.volumes.values()], request),
      volumeClear: async (name) => {
        const volume = this.#volume(name);
        if (volume === null) throw new Failure('volume-not-found', `There is no volume ${name}.`);
        throw new Failure('volume-not-failed', `Volume ${name} is not quarantined.`);
      },
      attachmentGet: async (id) => this.attachments.get(id) ?? null,
      attachmentList: async ({ host }, request) =>
        page(
          [...this.attachments.values()].filter((one) => (host ?? one.host) === one.host),
          request,
        ),
      hostStateReport: async (reports) =>
        reports.map((report) => {
          const attachment = this.attachments.get(report.attachment);
          if (attachment === undefined) return { ok: false, problem: problem('attachment-not-found', 'None.') };
          if (attachment.epoch !== report.epoch) return { ok: false, problem: problem('stale-epoch', 'Moved on.') };
          const next: Attachment = { ...attachment, hostSide: report.side === 'formatted' ? 'attached' : report.side };
          this.attachments.set(attachment.id, next);
          return { ok: true, attachment: next };
        }),
    };
  }

  #policies(): Partial<Store> {
    return {
      flowPolicyGet: async (id) => this.flows.get(id) ?? null,
      flowPolicyList: async (_filter, request) => page([...this.flows.values()], request),
      flowPolicyUpdate: async (id, change, ifVersion) => {
        const flow = changed(this.flows.get(id), 'flow-policy-not-found', ifVersion);
        const updated: FlowPolicy = { ...flow, ...change, version: flow.version + 1 };
        this.flows.set(id, updated);
        return updated;
      },
      flowResolve: async ({ targetWwpn }) => ({
        action: 'permit',
        targetWwpn,
        policy: [...this.flows.values()][0] ?? null,
        qosPolicy: null,
        why: 'No policy matches.',
      }),
      qosPolicyCreate: async (wanted) => {
        const existing = this.qos.get(wanted.name);
        if (existing !== undefined) {
          if (existing.maxTotalIops !== wanted.maxTotalIops) throw new Failure('name-taken', 'The name is in use.');
          return { resource: existing, existing: true };
        }
        const policy: QosPolicy = { ...wanted, id: newId('qos'), enforced: false, version: 1, createdAt: 1 };
        this.qos.set(policy.name, policy);
        return { resource: policy, existing: false };
      },
      qosPolicyGet: async (name) => this.qos.get(name) ?? null,
      qosPolicyList: async (request) => page([...this.qos.values()], request),
      qosPolicyUpdate: async (name, qos, ifVersion) => {
        const policy = changed(this.qos.get(name), 'qos-policy-not-found', ifVersion);
        const updated: QosPolicy = { ...policy, ...qos, version: policy.version + 1 };
        this.qos.set(name, updated);
        return updated;
      },
      qosPolicyDelete: async (name, ifVersion) => {
        changed(this.qos.get(name), 'qos-policy-not-found', ifVersion);
        this.qos.delete(name);
      },
    };
  }

  #machines(): Partial<Store> {
    return {
      hostRegister: async (registration) => {
        const known = this.hosts.get(registration.name);
        if (known !== undefined && known.machineId !== registration.machineId) {
          throw new Failure('host-conflict', 'Another machine holds this name.');
        }
        const fixed = { id: known?.id ?? newId('host'), state: 'online', lastSeenAt: 1 } as const;
        const host: Host = { ...registration, ...fixed, inventorySequence: 0, version: 1 };
        this.hosts.set(host.name, host);
        return host;
      },
      hostGet: async (name) => this.hosts.get(name) ?? null,
      hostList: async (request) => page([...this.hosts.values()], request),
      hostDelete: async (name) => {
        if (!this.hosts.delete(name)) throw new Failure('host-not-found', `There is no host ${name}.`);
      },
      inventoryBegin: async (name) => {
        if (!this.hosts.has(name)) throw new Failure('host-not-found', `There is no host ${name}.`);
        return 1;
      },
      inventoryReport: async ({ host, present }) => {
        const wanted = [...this.attachments.values()].filter((one) => one.host === host);
        return { wanted, unwanted: present.filter((id) => !wanted.some((one) => one.id === id)) };
      },
      storageNodeRegister: async (registration) => {
        const node: StorageNode = { ...registration, id: newId('node'), lastSeenAt: 1, version: 1 };
        this.nodes.set(node.name, node);
        return node;
      },
      storageNodeGet: async (name) => this.nodes.get(name) ?? null,
      storageNodeList: async (request) => page([...this.nodes.values()], request),
    };
  }

  #access(): Partial<Store> {
    return {
      tokenCreate: async ({ hash, ...rest }) => {
        const token: Token = { ...rest, createdAt: 1 };
        this.tokens.set(token.id, { ...token, hash });
        return token;
      },
      tokenList: async (request) =>
        page(
          [...this.tokens.values()].map(({ hash: _hash, ...token }) => token),
          request,
        ),
      tokenDelete: async (id) => {
        if (!this.tokens.delete(id)) throw new Failure('token-not-found', `There is no token ${id}.`);
      },
      tokenFind: async (hash): Promise<Principal | null> => {
        this.tokenFinds += 1;
        const token = [...this.tokens.values()].find((one) => one.hash === hash);
        return token === undefined ? null : { id: token.id, name: token.name, role: token.role, host: token.host };
      },
      eventsHead: async () => this.events.at(-1)?.cursor ?? '0.0',
      eventsAfter: async (cursor, atMost) => {
        const start = cursor === null ? 0 : Number(cursor.split('.')[0]);
        return this.events.slice(start, start + atMost);
      },
    };
  }
}

function keyOf(request: IdempotentRequest): string {
  return `${request.principal} ${request.route} ${request.key}`;
}

function failed(code: ErrorCode, detail: string): OperationOutcome {
  return { state: 'failed', problem: problem(code, detail) };
}

function done(resource: Extract<OperationOutcome, { state: 'succeeded' }>['resource']): OperationOutcome {
  return { state: 'succeeded', resource, existing: false };
}

function page<T>(items: readonly T[], request: PageRequest): Page<T> {
  const start = Number(request.pageToken ?? 0);
  if (!Number.isSafeInteger(start)) throw new Failure('invalid-request', 'pageToken is no token of ours.');
  const end = start + request.pageSize;
  return { items: items.slice(start, end), nextPageToken: end < items.length ? String(end) : null };
}

function changed<T extends { readonly version: number }>(
  resource: T | undefined,
  code: ErrorCode,
  ifVersion: number | null,
): T {
  if (resource === undefined) throw new Failure(code, 'There is none.');
  if (ifVersion !== null && ifVersion !== resource.version) throw new Failure('etag-mismatch', 'It has changed.');
  return resource;
}

function poolDefaults() {
  const status = { provisioning: 0, free: 0, allocated: 0, wiping: 0, failed: 0, retired: 0, hits: 0, misses: 0 };
  return {
    storageNode: 'local',
    state: 'active',
    version: 1,
    createdAt: 1,
    status: { ...status, blockedReason: null },
  } as const;
}

function newVolume(name: string, sizeBytes: number): Volume {
  const serial = newSerial();
  return {
    id: newId('vol'),
    name,
    pool: null,
    storageNode: 'local',
    backend: 'file',
    sizeBytes,
    state: 'allocated',
    generation: 1,
    mediaGeneration: 1,
    serial,
    wwid: wwidOf(serial),
    filesystem: 'ext4',
    formatted: true,
    qosPolicy: null,
    labels: {},
    epoch: 0,
    failureReason: null,
    createdAt: 1,
    allocatedAt: 1,
    attachments: [],
  };
}

function newAttachment(volume: Volume, host: string): Attachment {
  return {
    id: newId('att'),
    volumeId: volume.id,
    volume: volume.name,
    host,
    storageNode: volume.storageNode,
    accessMode: 'single-writer',
    namespace: null,
    state: 'exported',
    hostSide: 'none',
    epoch: 1,
    generation: 2,
    mediaGeneration: 1,
    paths: [{ initiatorWwpn: '20:00:02:00:00:00:00:a0', targetWwpn: '50:00:02:00:00:00:00:b0', lun: 1 }],
    wwid: volume.wwid,
    serial: volume.serial,
    sizeBytes: volume.sizeBytes,
    filesystem: 'ext4',
    formatted: true,
    createdAt: 1,
  };
}
