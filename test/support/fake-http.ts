/**
 * An HTTP server on a unix socket or a loopback port that answers what the test says and remembers what it was asked.
 * Faults that it can show: any status and problem, a missing answer (`null`: the connection is cut; `silent`: it stays).
 */
import http from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Asked {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: unknown;
}

export interface Answered {
  readonly status: number;
  readonly body?: unknown;
}

export type Answer = Answered | null | 'silent';

export class FakeHttp {
  readonly asked: Asked[] = [];
  readonly #server: http.Server;

  private constructor(answer: (asked: Asked) => Answer) {
    this.#server = http.createServer((request, response) => {
      readBody(request, (body) => {
        const asked = { method: request.method ?? '', url: request.url ?? '', headers: request.headers, body };
        this.asked.push(asked);
        const answered = answer(asked);
        if (answered === 'silent') return undefined;
        if (answered === null) return request.destroy();
        const type = answered.status < 400 ? 'application/json' : 'application/problem+json';
        response.writeHead(answered.status, { 'content-type': type });
        return response.end(answered.body === undefined ? '' : JSON.stringify(answered.body));
      });
    });
  }

  static async onSocket(path: string, answer: (asked: Asked) => Answer): Promise<FakeHttp> {
    const fake = new FakeHttp(answer);
    await new Promise<void>((resolve) => fake.#server.listen(path, resolve));
    return fake;
  }

  static async onPort(answer: (asked: Asked) => Answer): Promise<FakeHttp> {
    const fake = new FakeHttp(answer);
    await new Promise<void>((resolve) => fake.#server.listen(0, '127.0.0.1', resolve));
    return fake;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

function readBody(request: http.IncomingMessage, done: (body: unknown) => void): void {
  let text = '';
  request.setEncoding('utf8');
  request.on('data', (chunk: string) => {
    text += chunk;
  });
  request.on('end', () => done(text === '' ? null : JSON.parse(text)));
}
