import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { Latencies } from './latencies.ts';

/**
 * A volume plugin's socket with a clock on it: passes each call on to the real one and times the answer. A container
 * that is started through it pays for the hop at each call, so its whole start is not one that a user would see.
 */
export class TimedPlugin {
  readonly #server: http.Server;
  readonly #target: string;
  readonly #agent = new http.Agent({ keepAlive: true });
  #durations = new Map<string, Latencies>();

  private constructor(target: string) {
    this.#target = target;
    this.#server = http.createServer((request, response) => {
      this.#passOn(request, response).catch((error) => response.destroy(error));
    });
  }

  static async listen(socketPath: string, target: string): Promise<TimedPlugin> {
    const plugin = new TimedPlugin(target);
    await new Promise<void>((resolve, reject) => {
      plugin.#server.once('error', reject).listen(socketPath, resolve);
    });
    return plugin;
  }

  /** What was timed so far does not count. */
  forget(): void {
    this.#durations = new Map();
  }

  /** Of a method of the protocol, such as `VolumeDriver.Mount`. */
  durationsOf(method: string): Latencies {
    const durations = this.#durations.get(method) ?? new Latencies();
    this.#durations.set(method, durations);
    return durations;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
    this.#agent.destroy();
  }

  async #passOn(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '/';
    const body = await text(request);
    const answer = await this.durationsOf(path.slice(1)).time(() => this.#call(path, body));
    response.writeHead(answer.status, { 'content-type': answer.type }).end(answer.body);
  }

  #call(
    path: string,
    body: string,
  ): Promise<{ readonly status: number; readonly type: string; readonly body: string }> {
    return new Promise((resolve, reject) => {
      const options = { socketPath: this.#target, agent: this.#agent, method: 'POST', path };
      const request = http.request(options, (answer) => {
        const { statusCode = 502, headers } = answer;
        const resolved = (read: string) =>
          resolve({ status: statusCode, type: headers['content-type'] ?? 'application/json', body: read });
        text(answer).then(resolved, reject);
      });
      request.once('error', reject).end(body);
    });
  }
}
