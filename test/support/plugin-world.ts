/**
 * The Docker volume plugin over fakes, spoken to as each client does: by raw requests, because what the clients leave
 * out of their headers is what matters.
 */
import net from 'node:net';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Agent } from '../../src/agent/agent.ts';
import { engineController } from '../../src/frontends/docker-volume/controller.ts';
import { type PluginServerOptions, pluginServer } from '../../src/frontends/docker-volume/server.ts';
import { VolumeDriver } from '../../src/frontends/docker-volume/volume-driver.ts';
import { closeServer } from '../../src/http/listeners.ts';
import { AgentWorld } from './agent-world.ts';
import { FakeVolumes } from './fake-volumes.ts';

export type Client = 'dockerd' | 'podman' | 'dvdcli-0.1' | 'dvdcli-0.2' | 'strange';

/** The headers of each, Content-Length apart. */
const headers: Readonly<Record<Client, readonly string[]>> = {
  dockerd: ['Host: ', 'User-Agent: Go-http-client/1.1', 'Accept: application/vnd.docker.plugins.v1.2+json'],
  podman: ['Host: plugin', 'User-Agent: Go-http-client/1.1', 'Content-Type: application/vnd.docker.plugins.v1.1+json'],
  // The Go of its time sends the socket's path as the name of the server.
  'dvdcli-0.1': ['Host: /run/docker/plugins/fc.sock', 'Accept: application/vnd.docker.plugins.v1+json'],
  'dvdcli-0.2': ['Host: ', 'User-Agent: Go-http-client/1.1', 'Accept: application/vnd.docker.plugins.v1.2+json'],
  strange: ['Content-Type: what?;;'],
};

export interface PluginAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface EndedCall {
  readonly method: string;
  readonly outcome: string;
}

const answerMs = 5_000;

export class PluginWorld {
  readonly agents: AgentWorld;
  readonly agent: Agent;
  readonly volumes: FakeVolumes;
  readonly ended: EndedCall[] = [];
  readonly logged: object[] = [];
  /** At level `debug`. */
  readonly whispered: object[] = [];
  readonly socketPath: string;
  /** Of the TCP form. */
  port = 0;

  private constructor(agents: AgentWorld, agent: Agent) {
    this.agents = agents;
    this.agent = agent;
    this.volumes = new FakeVolumes(agents.controller);
    this.socketPath = join(agents.directory, 'fc.sock');
  }

  /** `given`: of the server, over what every test has. */
  static async start(t: ExecutionContext, given: Partial<PluginServerOptions> = {}): Promise<PluginWorld> {
    const agents = await AgentWorld.make(t);
    const world = new PluginWorld(agents, await agents.start());
    const { agent, volumes: client } = world;
    const options: PluginServerOptions = {
      driver: new VolumeDriver({ agent, controller: engineController({ client, answerMs, agent }), scope: 'local' }),
      clock: agents.clock,
      log: { warn: (fields) => world.logged.push(fields), debug: (fields) => world.whispered.push(fields) },
      metrics: { dockerCallEnded: (method, outcome) => world.ended.push({ method, outcome }) },
      ...given,
    };
    const servers = [pluginServer(options), pluginServer(options)] as const;
    t.teardown(() => Promise.all(servers.map(closeServer)));
    await new Promise<void>((resolve) => servers[0].listen(world.socketPath, resolve));
    await new Promise<void>((resolve) => servers[1].listen(0, '127.0.0.1', resolve));
    const address = servers[1].address();
    if (address !== null && typeof address === 'object') world.port = address.port;
    return world;
  }

  /** The body as it goes over the wire; an object is sent with Go's newline behind it. */
  async call(method: string, body: object | string = '', client: Client = 'dockerd'): Promise<PluginAnswer> {
    const text = typeof body === 'string' ? body : `${JSON.stringify(body)}\n`;
    const head = [`POST /${method} HTTP/1.1`, ...headers[client], `Content-Length: ${Buffer.byteLength(text)}`];
    return answerOf(await this.exchange(`${[...head, 'Connection: close'].join('\r\n')}\r\n\r\n${text}`));
  }

  exchange(request: string): Promise<string> {
    return exchangeOver(net.connect(this.socketPath), request);
  }

  exchangeOverTcp(request: string): Promise<string> {
    return exchangeOver(net.connect(this.port, '127.0.0.1'), request);
  }

  /** Whose need of the volume is on record. */
  references(volume: string): readonly string[] {
    return this.agent.mounts().find((record) => record.volume === volume)?.references ?? [];
  }
}

function exchangeOver(connection: net.Socket, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    connection.on('connect', () => connection.write(request));
    let answer = '';
    connection.on('data', (chunk) => {
      answer += chunk.toString('utf8');
    });
    connection.on('end', () => resolve(answer));
    connection.on('error', reject);
  });
}

function answerOf(text: string): PluginAnswer {
  const [head = '', body = ''] = text.split('\r\n\r\n');
  const contentType = /^content-type: (.*)$/im.exec(head)?.[1] ?? '';
  return { status: Number(head.split(' ')[1]), contentType, body: JSON.parse(body) };
}
