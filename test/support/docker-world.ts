/** A machine with the product and a real dockerd that uses it, by a plugin name of the test's own. */
import { rmSync } from 'node:fs';
import http from 'node:http';
import { basename } from 'node:path';
import { json } from 'node:stream/consumers';
import type { ExecutionContext } from 'ava';
import type { ControllerClient } from '../../src/http/client.ts';
import { until } from './daemon.ts';
import { DockerEngine, type EngineOptions, type Teardowns } from './docker-engine.ts';
import { loopsBelow, mountsBelow } from './linux-host-harness.ts';
import { StandaloneMachine } from './standalone-machine.ts';

let plugins = 0;

interface Left {
  readonly records: number;
  readonly mounts: number;
  readonly devices: number;
  readonly attachments: number;
}

export class DockerWorld {
  readonly machine: StandaloneMachine;
  readonly engine: DockerEngine;
  /** What `--driver` says. */
  readonly plugin: string;

  readonly socketPath: string;

  private constructor(machine: StandaloneMachine, engine: DockerEngine, { plugin, socketPath }: OwnPlugin) {
    this.machine = machine;
    this.engine = engine;
    this.plugin = plugin;
    this.socketPath = socketPath;
  }

  static async start(
    t: ExecutionContext,
    options: EngineOptions & { readonly settings?: Readonly<Record<string, string>> } = {},
  ): Promise<DockerWorld> {
    const own = ownPlugin(t);
    const machine = await StandaloneMachine.start(t, { DOCKER_SOCKET: own.socketPath, ...options.settings });
    const engine = await DockerEngine.start(t, options);
    return new DockerWorld(machine, engine, own);
  }

  /** `docker volume create` with the plugin. */
  async create(name: string, ...options: readonly string[]): Promise<string> {
    const stated = options.flatMap((option) => ['-o', option]);
    return await this.engine.docker('volume', 'create', '-d', this.plugin, ...stated, name);
  }

  left(): Promise<Left> {
    return leftOn(this.machine);
  }

  async comesToRest(t: ExecutionContext): Promise<void> {
    await untilNothingIsLeft(t, this.machine);
  }
}

type Watched = Pick<StandaloneMachine, 'directory' | 'mounts' | 'logTail'> & {
  readonly controller: Pick<ControllerClient, 'attachmentPage'>;
};

/** Numbers of what is there for mounts. */
async function leftOn(machine: Watched): Promise<Left> {
  const { items: attachments } = await machine.controller.attachmentPage();
  return {
    records: (await machine.mounts()).length,
    mounts: mountsBelow(machine.directory).length,
    devices: loopsBelow(machine.directory).length,
    attachments: attachments.length,
  };
}

/** Waits until nothing is mounted or attached any more; fails with what is left. */
export async function untilNothingIsLeft(t: ExecutionContext, machine: Watched): Promise<void> {
  const nothing: Left = { records: 0, mounts: 0, devices: 0, attachments: 0 };
  let left = await leftOn(machine);
  const isEmpty = async () => {
    left = await leftOn(machine);
    return JSON.stringify(left) === JSON.stringify(nothing);
  };
  await until(isEmpty, { what: 'nothing is left', timeoutMs: 60_000, everyMs: 100 }).catch(() => {});
  t.deepEqual(left, nothing, machine.logTail);
}

/** A machine of which nothing is heard after this has claimed the volume. Answers the attachment's id. */
export async function claimedFrom(name: string, controller: ControllerClient, volume: string): Promise<string> {
  const initiatorPorts = [
    { wwpn: '20:00:02:42:ac:11:00:09', fabric: 'local', state: 'online', synthesized: true },
  ] as const;
  await controller.hostRegister({ name, machineId: 'machine-9', bootId: 'boot-9', simulated: false, initiatorPorts });
  return (await controller.attachmentCreate({ volume, host: name, claim: true })).id;
}

export interface OwnPlugin {
  readonly plugin: string;
  readonly socketPath: string;
}

/** A call as an engine would make it; throws only where nobody answers. */
export function callPlugin(socketPath: string, method: string, body: object): Promise<{ readonly Err: string }> {
  return new Promise((resolve, reject) => {
    const request = http.request({ socketPath, method: 'POST', path: `/${method}` }, (response) => {
      json(response).then((answer) => resolve(answer as { readonly Err: string }), reject);
    });
    request.on('error', reject);
    request.end(JSON.stringify(body));
  });
}

/** A name for a plugin that nobody else has; its socket goes with the test. */
export function ownPlugin(t: Teardowns): OwnPlugin {
  plugins += 1;
  const plugin = `fct-${process.pid}-${plugins}`;
  const socketPath = `/run/docker/plugins/${basename(plugin)}.sock`;
  t.teardown(() => rmSync(socketPath, { force: true }));
  return { plugin, socketPath };
}
