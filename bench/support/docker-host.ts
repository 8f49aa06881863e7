/** A dockerd and the product as its volume plugin, on real loop devices; both are gone, with all they made, at the end. */
import { mkdtempSync, rmSync } from 'node:fs';
import { until } from '../../test/support/daemon.ts';
import { DockerEngine, type Teardowns } from '../../test/support/docker-engine.ts';
import { ownPlugin } from '../../test/support/docker-world.ts';
import { loopsBelow, mountsBelow, quietly } from '../../test/support/linux-host-harness.ts';
import { Product } from './product.ts';
import { RestClient } from './rest.ts';
import { TimedPlugin } from './timed-plugin.ts';

export interface DockerHostOptions {
  readonly sizeMiB: number;
  /** All that the pool ever has; they are made before anything is measured. */
  readonly volumes: number;
  /** Requests to the engine under way at once. */
  readonly connections: number;
}

interface PoolStatus {
  readonly free: number;
  readonly failed: number;
}

export class DockerHost {
  readonly engine: DockerEngine;
  /** The engine's HTTP API. */
  readonly api: RestClient;
  /** The product, as `--driver` names it. */
  readonly driver: string;
  /** The same product, with each of its calls timed. */
  readonly timedDriver: string;
  readonly timed: TimedPlugin;
  readonly #controller: RestClient;
  readonly #plugin: RestClient;
  readonly #volumes: number;

  private constructor(parts: Pick<DockerHost, 'engine' | 'api' | 'driver' | 'timedDriver' | 'timed'> & Rest) {
    this.engine = parts.engine;
    this.api = parts.api;
    this.driver = parts.driver;
    this.timedDriver = parts.timedDriver;
    this.timed = parts.timed;
    this.#controller = parts.controller;
    this.#plugin = parts.pluginClient;
    this.#volumes = parts.volumes;
  }

  static async start(t: Teardowns, { sizeMiB, volumes, connections }: DockerHostOptions): Promise<DockerHost> {
    const [own, ownTimed] = [ownPlugin(t), ownPlugin(t)];
    const product = await startProduct(t, {
      FCR_DOCKER_SOCKET: own.socketPath,
      FCR_DEFAULT_POOL_CREATE: 'true',
      FCR_DEFAULT_POOL_VOLUME_SIZE: `${sizeMiB}MiB`,
      FCR_DEFAULT_POOL_MIN_FREE: String(volumes),
      FCR_DEFAULT_POOL_MAX_VOLUMES: String(volumes),
    });
    const timed = await TimedPlugin.listen(ownTimed.socketPath, own.socketPath);
    t.teardown(() => timed.close());
    const controller = new RestClient(product.socketPath, 1);
    t.teardown(() => controller.close());
    const pluginClient = new RestClient(own.socketPath, 1);
    t.teardown(() => pluginClient.close());
    const engine = await DockerEngine.start(t);
    const api = new RestClient(engine.socketPath, connections);
    t.teardown(() => api.close());
    const [driver, timedDriver] = [own.plugin, ownTimed.plugin];
    return new DockerHost({ engine, api, driver, timedDriver, timed, controller, pluginClient, volumes });
  }

  /** What an engine asks of the plugin for so many containers, one after the other, without the engine. */
  async warmUp(count: number): Promise<void> {
    const ask = (call: string, body: object) => this.#plugin.expect('POST', `/VolumeDriver.${call}`, body);
    for (let number = 0; number < count; number += 1) {
      const [Name, ID] = [`warm-up-${number}`, `warm-up-${number}`];
      await ask('Create', { Name, Opts: null });
      await ask('Get', { Name });
      await ask('Mount', { Name, ID });
      await ask('Unmount', { Name, ID });
      await ask('Remove', { Name });
    }
  }

  /** Until every volume of the pool is wiped and free. */
  async atRest(): Promise<void> {
    const isAtRest = async () => {
      const pool = await this.#controller.expect<{ status: PoolStatus }>('GET', '/v1/pools/default');
      if (pool.status.failed > 0) throw new Error(`${pool.status.failed} volumes have failed`);
      return pool.status.free === this.#volumes;
    };
    await until(isAtRest, { what: `${this.#volumes} volumes are free`, timeoutMs: 600_000, everyMs: 20 });
  }
}

interface Rest {
  readonly controller: RestClient;
  readonly pluginClient: RestClient;
  readonly volumes: number;
}

async function startProduct(t: Teardowns, environment: Readonly<Record<string, string>>): Promise<Product> {
  // On the disk of the engine's own volumes.
  const dataDirectory = mkdtempSync('/var/tmp/fcr-bench-');
  t.teardown(() => removeAll(dataDirectory));
  const real = { FCR_HOST_MODE: 'linux', FCR_STORAGE_NODE_KIND: 'file' };
  const product = await Product.start({ dataDirectory, environment: { ...real, ...environment } });
  t.teardown(() => product.stop());
  return product;
}

function removeAll(directory: string): void {
  for (const path of mountsBelow(directory).reverse()) quietly('umount', [path]);
  for (const device of loopsBelow(directory)) quietly('losetup', ['-d', device]);
  rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
}
