/** The HTTP layer over a control plane, reached with tokens of every role, without a socket. */
import { pino } from 'pino';
import { Registry } from 'prom-client';
import type { Role } from '../../src/domain/principal.ts';
import type { App } from '../../src/http/app.ts';
import { buildServer, type ServerTls } from '../../src/http/server.ts';
import { hashToken, newTokenSecret } from '../../src/http/token-cache.ts';
import type { ControlPlane } from '../../src/operations/control-plane.ts';
import { systemClock } from '../../src/system/clock.ts';

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | number | string[] | undefined>>;
  readonly text: string;
  /** The parsed body; null where there is none. */
  readonly body: Record<string, unknown>;
}

export interface Asked {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: string;
  readonly body?: unknown;
  readonly raw?: string;
  readonly token?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface ApiOptions {
  /** False: listeners can still be added. */
  readonly ready?: boolean;
  readonly tls?: ServerTls;
  readonly serveMetrics?: boolean;
  /** Tokens that the store has already. */
  readonly tokens?: Readonly<Record<Role, string>>;
}

export class Api {
  readonly app: App;
  readonly tokens: Readonly<Record<Role, string>>;

  private constructor(app: App, tokens: Readonly<Record<Role, string>>) {
    this.app = app;
    this.tokens = tokens;
  }

  /** The token of role `host` is for the host `node1`. */
  static async over(controlPlane: ControlPlane, options: ApiOptions = {}): Promise<Api> {
    const app = buildServer({
      controlPlane,
      logger: pino({ level: 'silent' }),
      metrics: { registry: new Registry(), httpAnswered: () => undefined },
      clock: systemClock,
      tls: options.tls ?? null,
      serveMetrics: options.serveMetrics ?? true,
    });
    const add = async (role: Role) => await addToken(controlPlane, role);
    const tokens = options.tokens ?? {
      admin: await add('admin'),
      operator: await add('operator'),
      host: await add('host'),
      viewer: await add('viewer'),
    };
    if (options.ready !== false) await app.ready();
    return new Api(app, tokens);
  }

  async ask(asked: Asked): Promise<Answer> {
    const token = asked.token === undefined ? this.tokens.admin : asked.token;
    const payload = asked.raw ?? (asked.body === undefined ? undefined : JSON.stringify(asked.body));
    const answer = await this.app.inject({
      method: asked.method,
      url: asked.url,
      headers: {
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(payload === undefined ? {} : { 'content-type': 'application/json' }),
        ...asked.headers,
      },
      ...(payload === undefined ? {} : { payload }),
    });
    const json = /json/.test(String(answer.headers['content-type'] ?? '')) && answer.body !== '';
    return {
      status: answer.statusCode,
      headers: answer.headers,
      text: answer.body,
      body: json ? JSON.parse(answer.body) : {},
    };
  }

  async close(): Promise<void> {
    await this.app.close();
  }
}

async function addToken(controlPlane: ControlPlane, role: Role): Promise<string> {
  const secret = newTokenSecret();
  const host = role === 'host' ? 'node1' : null;
  const id = `tok_${role}`;
  await controlPlane.store.tokenCreate({ id, name: role, hash: hashToken(secret), role, host, expiresAt: null });
  return secret;
}
