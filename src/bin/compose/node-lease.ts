/**
 * One storage node works on a store that several processes share: the effects of a volume can be carried out only where
 * its bytes are, and whoever planned them hands them to the node beside it.
 *
 * The lease is the data directory's, not the process's: a process that was killed does not keep its own successor out.
 *
 *   held -> over      its time has passed by this process's clock: the database was away, or the process was stopped
 *   held -> over      another storage node has it
 *   over -> held      taken anew, and what was in flight has been recovered
 *
 * Only `held` acts. The time counts from before the request was sent, so it is over here before the database lets
 * anybody else have it.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { limits } from '../../config/limits.ts';
import { Failure } from '../../domain/errors.ts';
import type { LeaseTerm, MaintenanceStore } from '../../store/store.ts';
import type { Clock } from '../../system/clock.ts';
import { readJson, replaceJson } from '../../system/durable-file.ts';

export const nodeLeaseName = 'storage-node';

export interface NodeLeaseOptions {
  readonly store: Pick<MaintenanceStore, 'leaseTake' | 'leaseDrop'>;
  readonly dataDir: string;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>;
}

export interface LeasedWorker {
  /** Before anything may be begun again: what was in flight is nobody's. Repeated until it succeeds. */
  recover(): Promise<void>;
  resume(): void;
}

export class NodeLease {
  readonly #options: NodeLeaseOptions;
  readonly #owner: string;
  readonly #timer: NodeJS.Timeout;
  #until: number;
  #token: number;
  #over: string | null = null;
  #renewing: Promise<void> | null = null;
  #worker: LeasedWorker = { recover: async () => undefined, resume: () => undefined };

  private constructor(options: NodeLeaseOptions, { owner, until, token }: Taken & { readonly owner: string }) {
    this.#options = options;
    this.#owner = owner;
    this.#until = until;
    this.#token = token;
    this.#timer = setInterval(() => void this.renew(), limits.nodeLeaseRenewMs);
    this.#timer.unref();
  }

  /** `resource-in-use` while another storage node works on the store. */
  static async take(options: NodeLeaseOptions): Promise<NodeLease> {
    const owner = await ownerOf(options.dataDir);
    const taken = await take(options, owner);
    if (taken === null) throw new Failure('resource-in-use', inUse);
    return new NodeLease(options, { ...taken, owner });
  }

  /** False: nothing may be begun, since another worker may be at it. */
  mayAct(): boolean {
    return this.trouble === null;
  }

  /** Why nothing may be begun. */
  get trouble(): string | null {
    if (this.#over !== null) return this.#over;
    return this.#options.clock.monotonic() < this.#until ? null : notRenewed;
  }

  /** As it was last held: in the store it is this one, or another's. */
  get term(): LeaseTerm {
    return { name: nodeLeaseName, token: this.#token };
  }

  /** Who is told of a lease that is held again. */
  leads(worker: LeasedWorker): void {
    this.#worker = worker;
  }

  /** Extends it, or takes it again. Once at a time; never throws: the next one tries again. */
  renew(): Promise<void> {
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = null;
    });
    return this.#renewing;
  }

  /** Gives it back: what is on its way to the store would otherwise take it again behind that. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#renewing;
    this.#over = closed;
    try {
      await this.#options.store.leaseDrop(nodeLeaseName, this.#owner);
    } catch (error) {
      this.#options.log.warn(
        { err: error },
        'the lease of the storage node could not be given back; it runs out by itself',
      );
    }
  }

  async #renew(): Promise<void> {
    try {
      const taken = await take(this.#options, this.#owner);
      this.#noticeOver(taken);
      if (taken === null) return;
      if (this.#over !== null) await this.#worker.recover();
      this.#hold(taken);
    } catch (error) {
      this.#noticeOver({ token: this.#token });
      this.#options.log.warn({ err: error }, 'the lease of the storage node could not be extended');
    }
  }

  #hold({ token, until }: Taken): void {
    this.#token = token;
    this.#until = until;
    if (this.#over === null) return;
    this.#over = null;
    this.#options.log.info('the lease of the storage node is held again: its work goes on');
    this.#worker.resume();
  }

  /** What was over for a moment is over: effects may have been refused meanwhile, and another may have had it. */
  #noticeOver(found: { readonly token: number } | null): void {
    const trouble = found === null ? takenByAnother : this.trouble;
    const reason = trouble ?? (found?.token === this.#token ? null : takenByAnother);
    if (reason === null || reason === this.#over) return;
    this.#over = reason;
    this.#options.log.error({ reason }, 'the lease of the storage node is over: its work stops until it is held again');
  }
}

interface Taken {
  readonly token: number;
  readonly until: number;
}

async function take({ store, clock }: NodeLeaseOptions, owner: string): Promise<Taken | null> {
  const asked = clock.monotonic();
  const token = await store.leaseTake(nodeLeaseName, owner, limits.nodeLeaseMs);
  return token === null ? null : { token, until: asked + limits.nodeLeaseMs };
}

const closed = 'It was given back.';
const notRenewed = 'The lease could not be extended in time; another storage node may have it.';
const takenByAnother = 'Another storage node works on this store.';

const inUse =
  'The storage node of another data directory works on this store, and there can be one. ' +
  `Replicas beside it are run with --no-worker; if it is gone for good, try again in ${limits.nodeLeaseMs / 1_000} s.`;

async function ownerOf(dataDir: string): Promise<string> {
  const path = join(dataDir, 'node-id.json');
  const kept = await readJson(path);
  if (typeof kept === 'object' && kept !== null && 'id' in kept && typeof kept.id === 'string') return kept.id;
  if (kept !== null) throw new Failure('data-damaged', `${path} holds no id.`);
  const id = randomUUID();
  await replaceJson(path, { id });
  return id;
}
