/**
 * Where requests come in: a TCP port (with or without TLS) and a unix socket, both answered by the same application.
 *
 * Whoever can open the socket's file is the administrator, so the file is made with its final mode: there is no moment
 * at which others could open it. A socket file that nobody listens on is left over from a crash and is replaced.
 */
import { lstat, unlink } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { limits } from '../config/limits.ts';
import { Failure } from '../domain/errors.ts';
import type { App } from './app.ts';
import { trustConnection } from './authentication.ts';

export interface TcpListener {
  readonly host: string;
  readonly port: number;
}

export interface UnixListener {
  readonly path: string;
  /** Mode of the socket file; 0600 when absent. */
  readonly mode?: number;
  /** What takes another place, for whoever finds this one taken. */
  readonly setting?: string;
}

export interface Listening {
  /** Null without a TCP listener. */
  readonly port: number | null;
  readonly socketPath: string | null;
}

export interface Where {
  readonly tcp?: TcpListener | null;
  readonly unix?: UnixListener | null;
}

/** Before a start that takes time: `resource-in-use` where `listen` would say so at its end. */
export async function refuseTaken({ tcp = null, unix = null }: Where): Promise<void> {
  if (unix !== null) await removeLeftOver(unix);
  if (tcp === null) return;
  const probe = net.createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      probe.once('error', reject);
      probe.listen({ host: tcp.host, port: tcp.port }, resolve);
    });
  } catch (cause) {
    throw notHad(tcp, cause);
  }
  await new Promise((resolve) => probe.close(resolve));
}

/** Starts listening; `app.close()` ends it. */
export async function listen(app: App, where: Where): Promise<Listening> {
  const { tcp = null, unix = null } = where;
  const server = unix === null ? null : socketServer(app);
  await app.ready();
  if (unix !== null && server !== null) await listenOnSocket(server, unix);
  if (tcp !== null) await listenOnPort(app, tcp);
  const address = tcp === null ? null : app.server.address();
  return {
    port: address !== null && typeof address === 'object' ? address.port : null,
    socketPath: unix?.path ?? null,
  };
}

async function listenOnPort(app: App, tcp: TcpListener): Promise<void> {
  try {
    await app.listen({ host: tcp.host, port: tcp.port });
  } catch (cause) {
    throw notHad(tcp, cause);
  }
}

function notHad({ host, port }: TcpListener, cause: unknown): Failure {
  const code = cause instanceof Error && 'code' in cause ? cause.code : null;
  const why = code === 'EADDRINUSE' ? 'another process listens there' : `it cannot be had (${String(code ?? cause)})`;
  const remedy = 'listen (FCR_LISTEN) takes another address';
  return new Failure('resource-in-use', `${host}:${port}: ${why}; ${remedy}.`, { cause });
}

function socketServer(app: App): http.Server {
  const server = http.createServer({ requestTimeout: limits.requestReceiveMs }, (request, response) => {
    app.routing(request, response);
  });
  server.maxConnections = limits.connections;
  server.on('connection', trustConnection);
  app.addHook('preClose', async () => await closeServer(server));
  return server;
}

/** Open requests are finished, for a while. */
export async function closeServer(server: http.Server): Promise<void> {
  if (!server.listening) return;
  await new Promise<void>((resolve) => {
    const late = setTimeout(() => server.closeAllConnections(), limits.closeMs);
    server.close(() => {
      clearTimeout(late);
      resolve();
    });
    server.closeIdleConnections();
  });
}

/** `resource-in-use` where somebody else listens. */
export async function listenOnSocket(server: http.Server, unix: UnixListener): Promise<void> {
  await removeLeftOver(unix);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    const umask = process.umask(0o777 & ~(unix.mode ?? 0o600));
    try {
      server.listen({ path: unix.path }, resolve);
    } finally {
      process.umask(umask);
    }
  });
}

async function removeLeftOver(unix: UnixListener): Promise<void> {
  const { path } = unix;
  const found = await lstat(path).catch(() => null);
  if (found === null) return;
  if (!found.isSocket()) throw new Failure('resource-in-use', `${path} is there and is no socket.`);
  if (await answers(path)) throw taken(unix);
  await unlink(path);
}

function taken({ path, setting }: UnixListener): Failure {
  const remedy = setting === undefined ? '' : `; ${setting} takes another place`;
  return new Failure('resource-in-use', `Another process listens on ${path}${remedy}.`);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = net.connect(path);
    probe.on('connect', () => resolve(true));
    // Any other error (a full backlog, say) is not that of a dead process.
    probe.on('error', (error: NodeJS.ErrnoException) =>
      resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'),
    );
    probe.on('connect', () => probe.destroy());
  });
}
