import http from 'node:http';

/** A bare client for load: keep-alive over the unix socket, bodies as texts, nothing retried. */
export class RestClient {
  readonly #agent: http.Agent;
  readonly #socketPath: string;

  constructor(socketPath: string, connections: number) {
    this.#socketPath = socketPath;
    this.#agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  }

  async json<T>(method: string, path: string, body?: unknown): Promise<{ readonly status: number; readonly body: T }> {
    const { status, text } = await this.#send(method, path, body === undefined ? null : JSON.stringify(body));
    return { status, body: JSON.parse(text === '' ? 'null' : text) as T };
  }

  /** Throws what the product answered when that is not a success. */
  async expect<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await this.json<T>(method, path, body);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  async text(path: string): Promise<string> {
    return (await this.#send('GET', path, null)).text;
  }

  close(): void {
    this.#agent.destroy();
  }

  #send(method: string, path: string, body: string | null): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const headers =
        body === null ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
      const request = http.request(
        { socketPath: this.#socketPath, agent: this.#agent, method, path, headers },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
          );
          response.on('error', reject);
        },
      );
      request.on('error', reject);
      request.end(body ?? undefined);
    });
  }
}

/** The value of a metric without labels, or the sum over all of its labels. */
export function metricValue(exposition: string, name: string): number {
  const pattern = new RegExp(`^${name}(?:\\{[^}]*\\})? ([0-9.eE+-]+)$`, 'gm');
  return [...exposition.matchAll(pattern)].reduce((sum, match) => sum + Number(match[1]), 0);
}
