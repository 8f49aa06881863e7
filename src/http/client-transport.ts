/**
 * One HTTP call to the controller, over TCP, TLS or its unix socket: kept-alive connections, a deadline over all tries,
 * bounded backoff between them.
 *
 * Only calls that may be repeated are tried again; a call that ran out of time has an unknown outcome and says so
 * (`deadline-exceeded`). Problems of the controller come out as `Failure` with their own code.
 */
import http from 'node:http';
import https from 'node:https';
import { limits } from '../config/limits.ts';
import { formatByteCount } from '../domain/byte-count.ts';
import { assert, type ErrorCode, errorCatalogue, Failure } from '../domain/errors.ts';
import { connectionReason } from './connection-reason.ts';

export type Endpoint =
  | { readonly url: string; readonly tls?: ClientTls }
  | { readonly socketPath: string }
  | { readonly exchange: Exchange };

/** One request to a controller in the same process, and its answer: there is no connection that could be had or lost. */
export type Exchange = (request: ExchangeRequest) => Promise<RawAnswer>;

export interface ExchangeRequest {
  readonly method: Call['method'];
  /** With its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly payload: Buffer | null;
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

export interface ClientTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly query?: Query;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** The same call again changes nothing. */
  readonly repeatable: boolean;
  /** Over all tries. */
  readonly deadlineMs?: number;
  /** A status of 400 or above that is an answer all the same. */
  readonly alsoAnswer?: number;
}

export type Query = Readonly<Record<string, string | number | boolean | null | undefined>>;

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: unknown;
}

/** Reads the token from where it is kept; it is read again when the controller does not know the one that it was shown. */
export type ReadToken = () => string;

export interface TransportOptions {
  readonly endpoint: Endpoint;
  readonly token?: string | ReadToken | null;
  readonly deadlineMs?: number;
  /** For what only reads; `deadlineMs` when absent. */
  readonly readDeadlineMs?: number;
  readonly maxTries?: number;
  readonly maxConnections?: number;
  /** What answers there; "controller" when absent. */
  readonly peer?: string;
  /** Told after a deadline: what to look at then. */
  readonly whenSilent?: string;
}

/** Over all tries of a call. */
interface Deadline {
  readonly at: number;
  readonly lengthMs: number;
}

export class ClientTransport {
  readonly #agent: http.Agent;
  readonly #target: http.RequestOptions;
  readonly #exchangeHere: Exchange | null;
  readonly #secure: boolean;
  readonly #readToken: ReadToken | null;
  /** The URL's protocol, until something has answered. */
  #untried: string | null;
  #token: string | null;
  readonly #deadlineMs: number;
  readonly #readDeadlineMs: number;
  readonly #maxTries: number;
  /** The peer and where it is. */
  readonly #there: string;
  readonly #whenSilent: string;

  constructor(options: TransportOptions) {
    const pool = { keepAlive: true, maxSockets: options.maxConnections ?? limits.clientConnections };
    this.#secure = 'url' in options.endpoint && options.endpoint.url.startsWith('https:');
    this.#agent = this.#secure ? new https.Agent({ ...pool, ...tlsOf(options.endpoint) }) : new http.Agent(pool);
    this.#target = targetOf(options.endpoint);
    this.#untried = this.#target.protocol ?? null;
    this.#exchangeHere = 'exchange' in options.endpoint ? options.endpoint.exchange : null;
    const { token = null } = options;
    this.#readToken = typeof token === 'function' ? token : null;
    this.#token = typeof token === 'function' ? token() : token;
    this.#deadlineMs = options.deadlineMs ?? limits.clientDeadlineMs;
    this.#readDeadlineMs = options.readDeadlineMs ?? this.#deadlineMs;
    this.#maxTries = options.maxTries ?? limits.clientTries;
    this.#there = `The ${options.peer ?? 'controller'}${placeOf(options.endpoint)}`;
    this.#whenSilent = options.whenSilent ?? '';
  }

  /** Answers whatever came with a status below 400; throws a `Failure` otherwise. */
  async call(call: Call): Promise<Answer> {
    const deadline = this.#deadlineOf(call);
    let unknown = false;
    let renewed = false;
    for (let tries = 1; ; tries += 1) {
      const shown = this.#token;
      const tried = await this.#try(call, deadline);
      if (tried.ok) return tried.answer;
      if (!renewed && tried.failure.code === 'unauthenticated' && this.#renewToken(shown, tried.failure)) {
        renewed = true;
        continue;
      }
      if (unknown && isRemoved(call, tried.failure)) return { status: 204, headers: {}, body: null };
      unknown ||= tried.failure.code === 'controller-unavailable';
      const pauseMs = backoffMs(tries, tried.retryAfterMs);
      const hopeless = !call.repeatable || !tried.again || tries >= this.#maxTries;
      if (hopeless || performance.now() + pauseMs >= deadline.at) throw tried.failure;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  /** The raw answer of a request whose body is read as it comes (the event stream). */
  open(call: Call, signal: AbortSignal): Promise<http.IncomingMessage> {
    assert(this.#exchangeHere === null, 'transport-stream-in-process');
    return new Promise((resolve, reject) => {
      const request = this.#request(call, null, signal);
      const deadline = this.#deadlineOf(call);
      const timer = setTimeout(() => request.destroy(this.#tooLate(call, deadline)), deadline.lengthMs);
      request.on('close', () => clearTimeout(timer));
      request.on('response', (response) => {
        clearTimeout(timer);
        resolve(response);
      });
      request.on('error', (error) => reject(unavailable(error, this.#untried)));
      request.end();
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  /** Whether there is another token by now than the one that was refused. Nothing of a refused call has happened. */
  #renewToken(shown: string | null, refusal: Failure): boolean {
    if (this.#readToken === null) return false;
    try {
      this.#token = this.#readToken();
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new Failure('unauthenticated', `${refusal.message} ${why}`, { cause });
    }
    return this.#token !== shown;
  }

  #deadlineOf(call: Call): Deadline {
    const lengthMs = call.deadlineMs ?? (call.method === 'GET' ? this.#readDeadlineMs : this.#deadlineMs);
    return { at: performance.now() + lengthMs, lengthMs };
  }

  #tooLate(call: Call, { lengthMs }: Deadline): Failure {
    const within = `${Math.round(lengthMs / 100) / 10} s`;
    const outcome = call.method === 'GET' ? '' : ' Its outcome is unknown.';
    const detail = `${this.#there} has not answered ${call.method} ${call.path} within ${within}.${outcome}`;
    return new Failure('deadline-exceeded', [detail, this.#whenSilent].join(' ').trimEnd());
  }

  async #try(call: Call, deadline: Deadline): Promise<Try> {
    try {
      const raw = await this.#exchange(call, deadline);
      this.#untried = null;
      const body = parsed(raw);
      if (raw.status < 400 || raw.status === call.alsoAnswer) return { ok: true, answer: { ...raw, body } };
      return refused(raw, body);
    } catch (error) {
      const failure = unavailable(error, this.#untried);
      return { ok: false, failure, again: failure.code === 'controller-unavailable', retryAfterMs: null };
    }
  }

  #exchange(call: Call, deadline: Deadline): Promise<RawAnswer> {
    const payload = call.body === undefined ? null : Buffer.from(JSON.stringify(call.body));
    const here = this.#exchangeHere;
    return here === null ? this.#overWire(call, payload, deadline) : this.#inProcess(here, call, payload, deadline);
  }

  /** What overran its deadline goes on, as it does in another process. */
  async #inProcess(exchange: Exchange, call: Call, payload: Buffer | null, deadline: Deadline): Promise<RawAnswer> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(this.#tooLate(call, deadline)), leftMs(deadline));
    try {
      const headers = { ...this.#headers(payload), ...call.headers };
      return await Promise.race([exchange({ method: call.method, path: pathOf(call), headers, payload }), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #overWire(call: Call, payload: Buffer | null, deadline: Deadline): Promise<RawAnswer> {
    return new Promise((resolve, reject) => {
      const request = this.#request(call, payload, null);
      const timer = setTimeout(() => request.destroy(this.#tooLate(call, deadline)), leftMs(deadline));
      const fail = (error: Error) => {
        clearTimeout(timer);
        reject(error);
      };
      request.on('error', fail);
      request.on('response', (response) => {
        response.on('error', fail);
        collect(response, fail, (text) => {
          clearTimeout(timer);
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
        });
      });
      request.end(payload ?? undefined);
    });
  }

  #request(call: Call, payload: Buffer | null, signal: AbortSignal | null): http.ClientRequest {
    const options: http.RequestOptions = {
      ...this.#target,
      agent: this.#agent,
      method: call.method,
      path: pathOf(call),
      headers: { ...this.#headers(payload), ...call.headers },
      ...(signal === null ? {} : { signal }),
    };
    return this.#secure ? https.request(options) : http.request(options);
  }

  #headers(payload: Buffer | null): Record<string, string> {
    return {
      accept: 'application/json, application/problem+json',
      ...(this.#token === null ? {} : { authorization: `Bearer ${this.#token}` }),
      ...(payload === null ? {} : { 'content-type': 'application/json', 'content-length': String(payload.length) }),
    };
  }
}

type Try =
  | { readonly ok: true; readonly answer: Answer }
  | {
      readonly ok: false;
      readonly failure: Failure;
      readonly again: boolean;
      readonly retryAfterMs: number | null;
    };

function tlsOf(endpoint: Endpoint): ClientTls {
  return 'url' in endpoint ? (endpoint.tls ?? {}) : {};
}

function targetOf(endpoint: Endpoint): http.RequestOptions {
  if ('exchange' in endpoint) return {};
  if ('socketPath' in endpoint) return { socketPath: endpoint.socketPath, host: 'localhost' };
  const url = new URL(endpoint.url);
  const port = url.port === '' ? {} : { port: Number(url.port) };
  return { protocol: url.protocol, host: url.hostname.replace(/^\[|\]$/g, ''), ...port };
}

function pathOf({ path, query }: Call): string {
  return `${path}${queryText(query)}`;
}

function queryText(query: Query = {}): string {
  const stated = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined && value !== null) stated.set(key, String(value));
  }
  return stated.size === 0 ? '' : `?${stated}`;
}

function collect(response: http.IncomingMessage, fail: (error: Error) => void, done: (text: string) => void): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= limits.clientAnswerBytes) chunks.push(chunk);
    else response.destroy(new Error(`the answer is longer than ${formatByteCount(limits.clientAnswerBytes)}`));
  });
  response.on('end', () => done(Buffer.concat(chunks).toString('utf8')));
  response.on('aborted', () => fail(new Error('the answer broke off')));
}

function parsed(raw: RawAnswer): unknown {
  if (raw.text === '') return null;
  if (!/json/.test(raw.headers['content-type'] ?? '')) return raw.text;
  return JSON.parse(raw.text);
}

function refused(raw: RawAnswer, body: unknown): Try {
  const failure = failureOf(raw.status, body);
  const seconds = Number(raw.headers['retry-after'] ?? Number.NaN);
  const retryAfterMs = Number.isFinite(seconds) ? seconds * 1000 : null;
  return { ok: false, failure, again: mayGoBetter(raw.status, failure), retryAfterMs };
}

/** Whether the same call, under its key, can be answered otherwise soon: not where it has been carried out, and failed. */
function mayGoBetter(status: number, { code }: Failure): boolean {
  const { kind, retryable } = errorCatalogue[code];
  // What is exhausted has ended an operation. With its key in use, an earlier try is at a process that died or still at it.
  return retryable && ((status === 429 && kind !== 'exhausted') || status === 503 || code === 'idempotency-key-in-use');
}

/** The controller's own problem; a status without one (a proxy's page) is the controller not answering. */
export function failureOf(status: number, body: unknown): Failure {
  const fields = new Map(typeof body === 'object' && body !== null ? Object.entries(body) : []);
  const code = fields.get('code');
  const detail = fields.get('detail');
  if (!isErrorCode(code) || typeof detail !== 'string') {
    return new Failure('controller-unavailable', `The controller answered ${status} without saying why.`);
  }
  const field = fields.get('field');
  const related = relatedOf(fields.get('related'));
  return new Failure(code, detail, { ...(typeof field === 'string' ? { field } : {}), ...related });
}

function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(errorCatalogue, code);
}

function relatedOf(value: unknown): { readonly related?: Readonly<Record<string, string>> } {
  if (typeof value !== 'object' || value === null) return {};
  const texts = Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  return { related: Object.fromEntries(texts) };
}

/** An earlier try may have had its effect: what it removed cannot be found by the next. */
function isRemoved(call: Call, failure: Failure): boolean {
  return call.method === 'DELETE' && failure.code.endsWith('-not-found');
}

export function unavailable(error: unknown, untried: string | null = null): Failure {
  if (error instanceof Failure) return error;
  const reason = connectionReason(error, untried);
  return new Failure('controller-unavailable', `The controller does not answer: ${reason}.`, { cause: error });
}

function leftMs({ at }: Deadline): number {
  return Math.max(1, at - performance.now());
}

function placeOf(endpoint: Endpoint): string {
  if ('exchange' in endpoint) return ' of this process';
  return ` at ${'url' in endpoint ? endpoint.url : endpoint.socketPath}`;
}

/** Full jitter under a doubling bound, so that many clients do not come back together. */
export function backoffMs(tries: number, retryAfterMs: number | null): number {
  const bound = Math.min(limits.clientBackoffMaxMs, limits.clientBackoffMs * 2 ** (tries - 1));
  const jittered = bound / 2 + (Math.random() * bound) / 2;
  return retryAfterMs === null
    ? jittered
    : Math.min(retryAfterMs, limits.clientBackoffMaxMs) * (0.5 + Math.random() / 2);
}
