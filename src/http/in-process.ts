/**
 * The application for clients in its own process: the same routes and hooks, access and audit included, as over the unix
 * socket, and in its name, without the connection. A body goes over as text, so that nothing is shared.
 *
 * Relies on the routes of these clients to answer with one text; what streams needs a connection. An exchange that its
 * client gave up on runs to its end; closing the application waits for it.
 */
import http from 'node:http';
import { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { limits } from '../config/limits.ts';
import type { App } from './app.ts';
import { trustConnection } from './authentication.ts';
import type { Exchange, ExchangeRequest, RawAnswer } from './client-transport.ts';

/** To be called before the application listens. */
export function exchangeWith(app: App): Exchange {
  const socket = new Socket();
  trustConnection(socket);
  const open = new Set<Promise<unknown>>();
  app.addHook('preClose', async () => {
    await Promise.race([Promise.allSettled(open), pause(limits.closeMs, null, { ref: false })]);
  });
  return (asked) => {
    const answer = exchange(app, socket, asked).finally(() => open.delete(answer));
    open.add(answer);
    return answer;
  };
}

function exchange(app: App, socket: Socket, asked: ExchangeRequest): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const request = requestOf(socket, asked);
    app.routing(request, new Response(request, resolve, reject));
  });
}

function requestOf(socket: Socket, { method, path, headers, payload }: ExchangeRequest): http.IncomingMessage {
  const request = new http.IncomingMessage(socket);
  Object.assign(request, { method, url: path, httpVersion: '1.1', httpVersionMajor: 1, httpVersionMinor: 1 });
  request.headers = { host: 'localhost', ...headers };
  if (payload !== null) request.push(payload);
  request.push(null);
  request.complete = true;
  return request;
}

class Response extends http.ServerResponse {
  readonly #answered: (answer: RawAnswer) => void;
  readonly #brokenOff: (error: Error) => void;

  constructor(request: http.IncomingMessage, answered: (answer: RawAnswer) => void, brokenOff: (error: Error) => void) {
    super(request);
    this.#answered = answered;
    this.#brokenOff = brokenOff;
  }

  /** Kept one by one: what goes into the head as a whole cannot be asked for any more. */
  override writeHead(status: number, ...rest: unknown[]): this {
    const headers = rest.find((each) => typeof each === 'object');
    for (const [name, value] of Object.entries(headers ?? {})) this.setHeader(name, value);
    return super.writeHead(status);
  }

  override end(...[payload]: unknown[]): this {
    if (this.writableEnded) return this;
    super.end();
    this.#answered({ status: this.statusCode, headers: textsOf(this.getHeaders()), text: textOf(payload) });
    process.nextTick(() => {
      this.emit('finish');
      this.emit('close');
    });
    return this;
  }

  override destroy(error?: Error): this {
    if (!this.writableEnded) this.#brokenOff(error ?? new Error('the answer broke off'));
    return super.destroy(error);
  }
}

function textOf(payload: unknown): string {
  if (Buffer.isBuffer(payload)) return payload.toString('utf8');
  return typeof payload === 'string' ? payload : '';
}

/** As a connection would bring them. */
function textsOf(headers: http.OutgoingHttpHeaders): http.IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}
