/** The Docker volume plugin in one piece, for the program that runs the agent: its socket, and the TCP form if wanted. */
import { rm } from 'node:fs/promises';
import type http from 'node:http';
import { dirname } from 'node:path';
import type { Agent } from '../../agent/agent.ts';
import type { DockerConfig } from '../../config/config.ts';
import type { ListenAddress } from '../../config/values.ts';
import { assert } from '../../domain/errors.ts';
import { closeServer, listenOnSocket } from '../../http/listeners.ts';
import type { Clock } from '../../system/clock.ts';
import { configuredDirectory, replaceFile } from '../../system/durable-file.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import { pluginServer } from './server.ts';
import { CallsUnderWay, type Scope, VolumeDriver, type VolumeDriverOptions } from './volume-driver.ts';

export interface DockerVolumePluginOptions {
  readonly config: DockerConfig;
  readonly agent: Agent;
  readonly controller: VolumeDriverOptions['controller'];
  /** Whether other hosts use the same controller. */
  readonly isShared: boolean;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'dockerCallEnded'>;
}

export interface RunningDockerVolumePlugin {
  /** Null: switched off, or the default place could not be had. */
  readonly socketPath: string | null;
  /** Podman's own; null without one. */
  readonly podmanSocketPath: string | null;
  /** Null without the TCP form. */
  readonly port: number | null;
  close(): Promise<void>;
}

const pluginDirectoryMode = 0o755;
const specFileMode = 0o644;

export async function startDockerVolumePlugin(options: DockerVolumePluginOptions): Promise<RunningDockerVolumePlugin> {
  const { config, agent, controller, isShared, clock, log, metrics } = options;
  const underWay = new CallsUnderWay();
  const parts = { agent, controller, scope: scopeOf(config, isShared), removes: config.removes, underWay };
  const serverFor = (driver: VolumeDriver) => pluginServer({ driver, clock, log, metrics });
  const engines = new VolumeDriver(parts);
  const make = () => serverFor(engines);
  const closers: (() => Promise<unknown>)[] = [];
  const close = async () => void (await Promise.all(closers.map((each) => each())));
  const { podmanSocketPath } = config;
  try {
    const socketPath = await openSocket(config, make, log, closers);
    if (podmanSocketPath !== null) {
      await openAt(podmanSocketPath, serverFor(new VolumeDriver({ ...parts, entrance: 'podman' })), closers);
    }
    const port = await openTcp(config, make, closers);
    return { socketPath, podmanSocketPath, port, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function scopeOf({ scope }: DockerConfig, isShared: boolean): Scope {
  if (scope !== 'auto') return scope;
  return isShared ? 'global' : 'local';
}

/** A place that was asked for must be had; without the default one, the rest of the product runs all the same. */
async function openSocket(
  { socket }: DockerConfig,
  make: () => http.Server,
  log: Log,
  closers: (() => Promise<unknown>)[],
): Promise<string | null> {
  if (socket === null) return null;
  try {
    await openAt(socket.path, make(), closers);
  } catch (error) {
    if (socket.required) throw error;
    log.warn({ err: error, socket: socket.path }, 'there is no Docker volume plugin: its socket cannot be had');
    return null;
  }
  return socket.path;
}

async function openAt(path: string, server: http.Server, closers: (() => Promise<unknown>)[]): Promise<void> {
  configuredDirectory(dirname(path), pluginDirectoryMode);
  await listenOnSocket(server, { path });
  closers.push(() => closeServer(server));
}

async function openTcp(
  { listen, specFile }: DockerConfig,
  make: () => http.Server,
  closers: (() => Promise<unknown>)[],
): Promise<number | null> {
  if (listen === null) return null;
  const server = make();
  const port = await listenOnTcp(server, listen);
  closers.push(() => closeServer(server));
  if (specFile === null) return port;
  configuredDirectory(dirname(specFile), pluginDirectoryMode);
  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host;
  await replaceFile(specFile, `tcp://${host}:${port}\n`, specFileMode);
  closers.push(() => rm(specFile, { force: true }));
  return port;
}

async function listenOnTcp(server: http.Server, { host, port }: ListenAddress): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, resolve);
  });
  const address = server.address();
  assert(address !== null && typeof address === 'object', 'docker-plugin-address');
  return address.port;
}
