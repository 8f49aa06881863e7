/**
 * The plugin's HTTP side: one request, one call, one answer, whatever the headers say; over TCP no browser's.
 *
 * A framework would choose a body parser by the Content-Type, which dockerd does not send, so this is Node's own server.
 */
import http from 'node:http';
import { limits } from '../../config/limits.ts';
import { isLoopback } from '../../config/values.ts';
import { errorCatalogue, Failure, type Problem, problemOf } from '../../domain/errors.ts';
import type { Clock } from '../../system/clock.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import { type AnswerMs, dockerdsPatience, inTime, stillGoingOn } from './answer-in-time.ts';
import { calls, isOfVolume, isPluginMethod, type PluginMethod } from './calls.ts';
import {
  errorText,
  failureStatus,
  mediaType,
  type PluginRequest,
  parseRequest,
  saysAbsent,
  unanswered,
} from './protocol.ts';
import { UnansweredLookups } from './unanswered-lookups.ts';
import type { VolumeDriver } from './volume-driver.ts';

export interface PluginServerOptions {
  readonly driver: VolumeDriver;
  readonly clock: Clock;
  readonly log: Pick<Log, 'warn' | 'debug'>;
  readonly metrics: Pick<Metrics, 'dockerCallEnded'>;
  /** When a call is answered at the latest; `dockerdsPatience` when absent. */
  readonly answerMs?: AnswerMs;
}

interface Serving extends PluginServerOptions {
  /** What is said to the repeats. */
  readonly lookups: UnansweredLookups;
}

/** Does not listen yet. */
export function pluginServer(options: PluginServerOptions): http.Server {
  const serving: Serving = { ...options, lookups: new UnansweredLookups(options.clock) };
  const settings = { requestTimeout: limits.requestReceiveMs, requireHostHeader: false };
  const server = http.createServer(settings, (request, response) => {
    answer(serving, request, response).catch((error: unknown) => {
      options.log.debug({ err: error }, 'an engine did not wait for its answer');
      response.destroy();
    });
  });
  server.maxConnections = limits.connections;
  // dockerd keeps its connection: what it sends while that is being closed for idleness, it repeats without the body.
  server.keepAliveTimeout = 0;
  return server;
}

async function answer(serving: Serving, request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
  const path = (request.url ?? '').replace(/^\/+/, '').replace(/\?.*$/s, '');
  if (request.method !== 'POST' || !isPluginMethod(path)) {
    request.resume();
    send(response, 404, { Err: `There is no ${request.method} /${path.slice(0, 64)} in this plugin.` });
    return;
  }
  if (isOverTcp(request) && mayBeOfWebPage(request)) {
    request.resume();
    send(response, 403, { Err: 'Web pages and requests for other hosts are not answered by this plugin.' });
    return;
  }
  const { status, body, problem } = await called(serving, path, request);
  if (problem !== null && hasNoAnswer(path, problem)) {
    request.socket.end(unanswered(problem));
    return;
  }
  send(response, status, body);
}

function hasNoAnswer(method: PluginMethod, problem: Problem): boolean {
  return method === 'VolumeDriver.Get' && !saysAbsent(problem);
}

function isOverTcp({ socket }: http.IncomingMessage): boolean {
  return socket.remoteAddress !== undefined;
}

/**
 * A browser on this machine reaches the port on behalf of any page that it shows. It then says so, or, where the page's
 * own name was made to lead here, names that host. Engines send none of it. (Sec-Fetch-Mode alone also comes from Node.)
 */
function mayBeOfWebPage({ headers }: http.IncomingMessage): boolean {
  if (headers.origin !== undefined || headers['sec-fetch-site'] !== undefined) return true;
  const { host = '' } = headers;
  const [, bracketed, plain] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(host) ?? [];
  return host !== '' && !isLoopback(bracketed ?? plain ?? '');
}

async function called(serving: Serving, method: PluginMethod, request: http.IncomingMessage) {
  const { clock, metrics } = serving;
  const began = clock.monotonic();
  const took = () => clock.monotonic() - began;
  let name = '';
  try {
    const asked = parseRequest(await received(request));
    name = asked.name;
    if (name === '' && isOfVolume(method)) throw new Repeated(serving.lookups.reasons());
    const body = await carriedOut(serving, method, asked, () => !request.socket.destroyed);
    metrics.dockerCallEnded(method, 'succeeded', took());
    return { status: 200, body, problem: null };
  } catch (error) {
    const told = problemOf(error);
    metrics.dockerCallEnded(method, errorCatalogue[told.code].kind, took());
    if (hasNoAnswer(method, told) && !(error instanceof Repeated)) serving.lookups.add(told.detail);
    logFailure(serving, { method, volume: name, durationMs: Math.round(took()) }, told, error);
    return { status: failureStatus, body: { Err: errorText(told) }, problem: told };
  }
}

async function carriedOut(
  serving: Serving,
  method: PluginMethod,
  asked: PluginRequest,
  isConnected: () => boolean,
): Promise<object> {
  const { driver, answerMs = dockerdsPatience } = serving;
  const waitMs = answerMs(method);
  let isLate = false;
  const work: Promise<object> = calls[method](driver, asked, () => !isLate && isConnected());
  return await inTime(work, waitMs, () => {
    isLate = true;
    logEnd(serving, { method, volume: asked.name }, work);
    return stillGoingOn(method, asked.name, waitMs);
  });
}

/** Nobody is answered any more: how it ended is to be read here alone. */
function logEnd({ log }: PluginServerOptions, fields: object, work: Promise<object>): void {
  work.then(
    () => log.debug(fields, 'a call that was answered as going on has ended well'),
    (error: unknown) => {
      const { code, detail } = problemOf(error);
      log.warn({ ...fields, code, detail }, 'a call that was answered as going on has failed');
    },
  );
}

/**
 * dockerd repeats a request whose exchange broke (the agent was killed, or had no answer to give) without its body. Taken
 * for one of no volume it would be answered as done, and nothing would be.
 */
class Repeated extends Failure {
  constructor(reasons: readonly string[]) {
    const detail = 'The exchange broke off before its answer, and the repeat does not say which volume is meant.';
    super('controller-unavailable', `${detail} ${whatWasMet(reasons)}`);
  }
}

function whatWasMet([last, ...others]: readonly string[]): string {
  if (last === undefined) return 'The agent was restarted, or its log says why.';
  const other = others.length === 0 ? '' : ` Others lately: ${others.join(' ')}`;
  return `The last one met: ${last}${other}`;
}

interface FailedCall {
  readonly method: PluginMethod;
  readonly volume: string;
  readonly durationMs: number;
}

const lookups: ReadonlySet<PluginMethod> = new Set(['VolumeDriver.Get', 'VolumeDriver.Path']);

/**
 * Engines ask for what is not there before they create it: that is no failure. And they repeat what had no answer, some
 * times: the first of these has said why.
 */
function logFailure({ log }: PluginServerOptions, fields: FailedCall, told: Problem, error: unknown): void {
  const { kind } = errorCatalogue[told.code];
  if (kind === 'not-found' && lookups.has(fields.method))
    log.debug({ ...fields, code: told.code }, 'a container engine asked for what is not there');
  else if (error instanceof Repeated)
    log.debug({ ...fields, code: told.code }, 'a container engine repeated a call that had no answer');
  else if (kind === 'internal')
    log.warn({ ...fields, code: told.code, err: error }, 'a call of a container engine failed');
  else log.warn({ ...fields, code: told.code, detail: told.detail }, 'a call of a container engine failed');
}

async function received(request: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    const part = Buffer.from(chunk);
    bytes += part.length;
    if (bytes > limits.dockerBodyBytes) {
      throw new Failure('body-too-large', `At most ${limits.dockerBodyBytes} bytes are accepted.`);
    }
    chunks.push(part);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function send(response: http.ServerResponse, status: number, body: object): void {
  const payload = Buffer.from(`${JSON.stringify(body)}\n`);
  response.writeHead(status, { 'content-type': mediaType, 'content-length': payload.length });
  response.end(payload);
}
