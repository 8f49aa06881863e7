import { randomUUID } from 'node:crypto';
import { type CommonRedisOptions, Redis } from 'ioredis';
import { limits } from '../../config/limits.ts';
import { withDeadline } from '../../system/deadline.ts';
import { CoalescedRun } from '../coalesced-run.ts';
import type { QueueObserver } from '../queue.ts';

export interface RedisLinkOptions {
  /** `redis://`, `rediss://`, or `unix:///path/of.sock`. */
  readonly url: string;
  readonly prefix: string;
  readonly observer: QueueObserver;
  /** Redis answers again, or has lost its data: whatever should be in it must be put there again. */
  readonly onRepair: () => void;
}

/**
 * All connections to one Redis, and the knowledge whether it works.
 *
 * Senders use `client`: no offline queue, no retry, a deadline on every command. Once a command has failed, nothing is
 * sent but one probe at a time until a probe succeeds, so a Redis that is away costs neither memory nor time. The probe
 * is a write, because a Redis that is out of memory still answers reads; it answers what it held before, and a missing
 * answer means that the data was lost (FLUSHALL) under a connection that never broke.
 */
export class RedisLink {
  readonly instance = randomUUID();
  readonly client: Redis;
  readonly #options: RedisLinkOptions;
  readonly #clients: Redis[] = [];
  readonly #probe: CoalescedRun;
  readonly #timer: NodeJS.Timeout;
  #down: string | null = 'Redis has not been reached yet';
  #policy: string | null = null;
  #probedBefore = false;
  #closed = false;

  constructor(options: RedisLinkOptions) {
    this.#options = options;
    this.#probe = new CoalescedRun(
      () => this.#check(),
      (error) => this.#failed(error),
    );
    this.client = this.#open({
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      commandTimeout: limits.queueWakeTimeoutMs,
    });
    this.client.on('ready', () => void this.#probe.request());
    this.client.on('close', () => this.#failed(new Error('Redis is not connected')));
    this.#timer = setInterval(() => void this.#probe.request(), limits.queueProbeEveryMs);
  }

  /** For readyz. */
  get trouble(): string | null {
    return this.#down ?? this.#policy;
  }

  /** For consumers, whose commands must wait for Redis instead of failing (BullMQ asks for exactly this). */
  openPatient(): Redis {
    return this.#open({ maxRetriesPerRequest: null });
  }

  /** Sends within a deadline; undefined, and no longer than that, when Redis does not take it. */
  async attempt<T>(action: () => Promise<T>): Promise<T | undefined> {
    if (this.#down !== null) return undefined;
    try {
      return await withDeadline(action(), limits.queueWakeTimeoutMs);
    } catch (error) {
      this.#failed(error);
      return undefined;
    }
  }

  /** While Redis is known to be away, every connection says so again at each attempt: said once is enough. */
  report(where: string, error: unknown): void {
    if (this.#down === null && !this.#closed) this.#options.observer.errored(where, error);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#probe.stop();
    for (const client of this.#clients) client.disconnect();
  }

  async #check(): Promise<void> {
    if (this.client.status !== 'ready') return;
    const key = `${this.#options.prefix}:probe:${this.instance}`;
    const lifetimeMs = 60 * limits.queueProbeEveryMs;
    const held = await this.#withReconnect(this.client.set(key, '1', 'PX', lifetimeMs, 'GET'));
    this.#policy = policyTrouble(await this.#withReconnect(this.client.info('memory')));
    const wasDown = this.#down !== null;
    this.#down = null;
    const dataLost = this.#probedBefore && held === null;
    this.#probedBefore = true;
    if (wasDown || dataLost) this.#options.onRepair();
  }

  /** A command that timed out stays in the client's memory until its connection ends: end it. */
  async #withReconnect<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      if (error instanceof Error && /timed out/i.test(error.message)) this.client.disconnect(true);
      throw error;
    }
  }

  #failed(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    const wasUp = this.#down === null;
    this.#down = `Redis does not take messages: ${reason}`;
    if (wasUp && !this.#closed) this.#options.observer.errored('redis', error);
  }

  #open(options: CommonRedisOptions): Redis {
    const all: CommonRedisOptions & { replyMapping: 'legacy' } = {
      connectTimeout: limits.queueConnectTimeoutMs,
      keepAlive: limits.queueKeepAliveMs,
      retryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 10), limits.queueReconnectMaxMs),
      // A replica that was promoted over our head: its successor is found by connecting again.
      reconnectOnError: (error) => error.message.startsWith('READONLY'),
      ...options,
      replyMapping: 'legacy',
    };
    const path = /^unix:(?:\/\/)?(\/.*)$/.exec(this.#options.url)?.[1];
    const client = path === undefined ? new Redis(this.#options.url, all) : new Redis({ ...all, path });
    this.#adopt(client);
    return client;
  }

  /** BullMQ duplicates a worker's connection for its blocking reads; that one has to end with ours. */
  #adopt(client: Redis): void {
    client.on('error', (error) => this.report('redis', error));
    const duplicate = client.duplicate.bind(client);
    client.duplicate = (override) => {
      const copy = duplicate(override);
      this.#adopt(copy);
      return copy;
    };
    this.#clients.push(client);
  }
}

/** An evicting Redis throws away jobs one by one, without a word. */
function policyTrouble(info: string): string | null {
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1] ?? 'noeviction';
  return policy === 'noeviction' ? null : `Redis has maxmemory-policy ${policy}; it must be noeviction`;
}
