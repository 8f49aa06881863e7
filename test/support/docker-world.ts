/** A machine with the product and a real dockerd that uses it, by a plugin name of the test's own. */
import { rmSync } from 'node:fs';
import { basename } from 'node:path';
import type { ExecutionContext } from 'ava';
import { until } from './daemon.ts';
import { DockerEngine, type EngineOptions } from './docker-engine.ts';
import { loopsBelow, mountsBelow } from './linux-host-harness.ts';
import { StandaloneMachine } from './standalone-machine.ts';

let plugins = 0;

export class DockerWorld {
  readonly machine: StandaloneMachine;
  readonly engine: DockerEngine;
  /** What `--driver` says. */
  readonly plugin: string;

  private constructor(machine: StandaloneMachine, engine: DockerEngine, plugin: string) {
    this.machine = machine;
    this.engine = engine;
    this.plugin = plugin;
  }

  static async start(t: ExecutionContext, options: EngineOptions = {}): Promise<DockerWorld> {
    const { plugin, socketPath } = ownPlugin(t);
    const machine = await StandaloneMachine.start(t, { DOCKER_SOCKET: socketPath });
    const engine = await DockerEngine.start(t, options);
    return new DockerWorld(machine, engine, plugin);
  }

  /** `docker volume create` with the plugin. */
  async create(name: string, ...options: readonly string[]): Promise<string> {
    const stated = options.flatMap((option) => ['-o', option]);
    return await this.engine.docker('volume', 'create', '-d', this.plugin, ...stated, name);
  }

  /** Numbers of what is there for mounts. */
  async left(): Promise<object> {
    const { items: attachments } = await this.machine.controller.attachmentPage();
    return {
      records: (await this.machine.mounts()).length,
      mounts: mountsBelow(this.machine.directory).length,
      devices: loopsBelow(this.machine.directory).length,
      attachments: attachments.length,
    };
  }

  /** Waits until nothing is mounted or attached any more; fails with what is left. */
  async comesToRest(t: ExecutionContext): Promise<void> {
    const nothing = { records: 0, mounts: 0, devices: 0, attachments: 0 };
    let left = await this.left();
    const isEmpty = async () => {
      left = await this.left();
      return JSON.stringify(left) === JSON.stringify(nothing);
    };
    await until(isEmpty, { what: 'nothing is left', timeoutMs: 60_000, everyMs: 100 }).catch(() => {});
    t.deepEqual(left, nothing, this.machine.logTail);
  }
}

/** A name for a plugin that no other test has; its socket goes with the test. */
export function ownPlugin(t: ExecutionContext): { readonly plugin: string; readonly socketPath: string } {
  plugins += 1;
  const plugin = `fct-${process.pid}-${plugins}`;
  const socketPath = `/run/docker/plugins/${basename(plugin)}.sock`;
  t.teardown(() => rmSync(socketPath, { force: true }));
  return { plugin, socketPath };
}
