/** One host and its controller, both fakes, and agents that come and go over one state directory. */
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { Agent, type AgentIntervals } from '../../src/agent/agent.ts';
import { MountJournal, type MountRecord } from '../../src/agent/mount-journal.ts';
import type { Volume } from '../../src/domain/volume.ts';
import { type Clock, systemClock } from '../../src/system/clock.ts';
import { CrashGate } from './crash-gate.ts';
import { FakeController } from './fake-controller.ts';
import { FakeHost, mediumOf } from './fake-host.ts';

const silence = { info: () => {}, warn: () => {}, error: () => {} };
const controllerCalls = [
  ...(['hostRegister', 'volumeGet', 'attachmentCreate', 'attachmentGet', 'attachmentList'] as const),
  ...(['attachmentDelete', 'hostStateReport', 'inventoryBegin', 'inventoryReport'] as const),
];
const hostCalls = ['attach', 'format', 'mount', 'unmount', 'detach', 'inventory'] as const;
const journalCalls = ['put', 'remove'] as const;

export const hostName = 'node1';

export class AgentWorld {
  readonly controller = new FakeController();
  readonly host = new FakeHost();
  readonly directory: string;
  readonly violations: string[] = [];
  /** That of the machine, moved on by what a test lets pass. */
  readonly clock: Clock = {
    now: () => systemClock.now() + this.#passedMs,
    monotonic: () => systemClock.monotonic() + this.#passedMs,
  };
  #passedMs = 0;
  #journals: MountJournal[] = [];

  private constructor(directory: string) {
    this.directory = directory;
    this.host.onAttach = ({ attachmentId }) => {
      const side = this.controller.attachments.get(attachmentId)?.hostSide;
      if (side !== 'claimed' && side !== 'attached')
        this.violations.push(`a device was made while the side was ${side}`);
    };
    this.controller.onRelease = ({ volumeId }) => {
      const isThere = this.host.devices.some((device) => device.volumeId === volumeId);
      if (isThere) this.violations.push(`${volumeId} was released with its device in place`);
    };
  }

  static async make(t: ExecutionContext): Promise<AgentWorld> {
    const directory = await realpath(await mkdtemp(join(tmpdir(), 'agent-')));
    const world = new AgentWorld(directory);
    t.teardown(async () => {
      await world.#closeJournals();
      // A reconcile that was nudged at the very end may still write its stamp.
      await rm(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
    });
    return world;
  }

  passTime(ms: number): void {
    this.#passedMs += ms;
  }

  addVolume(name: string, fields: Partial<Volume> = {}): Volume {
    const volume = this.controller.addVolume(name, fields);
    if (volume.formatted) this.host.formatted.add(mediumOf({ volumeId: volume.id, mediaGeneration: 1 }));
    return volume;
  }

  /** Another life of the agent over what the last one left: its journal is read from the disk again. */
  async start(options: { readonly gate?: CrashGate; readonly intervals?: AgentIntervals } = {}): Promise<Agent> {
    const gate = options.gate ?? new CrashGate();
    await this.#closeJournals();
    const journal = await MountJournal.open(join(this.directory, 'mounts.journal'));
    this.#journals.push(journal);
    return await Agent.compose({
      controller: gate.through(this.controller, controllerCalls),
      host: gate.through(this.host, hostCalls),
      journal: gate.through(journal, journalCalls),
      stateDirectory: this.directory,
      hostName,
      logger: silence,
      clock: this.clock,
      intervals: { attachRetryMs: 200, ...options.intervals },
    });
  }

  /** Changes what the journal has on the disk; there is no agent meanwhile. */
  async rewrite(change: (record: MountRecord) => MountRecord): Promise<void> {
    await this.#closeJournals();
    const journal = await MountJournal.open(join(this.directory, 'mounts.journal'));
    for (const record of journal.list()) await journal.put(change(record));
    await journal.close();
  }

  /** What is there, in one comparable value. */
  state(agent: Agent): object {
    return {
      records: agent.mounts().map(({ volume, path, state }) => `${volume} ${path} ${state}`),
      mounts: this.host.mounts.map(({ path }) => path),
      devices: this.host.devices.map(({ volumeId }) => volumeId),
      attachments: [...this.controller.attachments.values()].map(({ volumeId, state }) => `${volumeId} ${state}`),
      violations: [...this.violations, ...this.host.violations],
    };
  }

  path(name: string): string {
    return join(this.directory, 'volumes', name);
  }

  /** The state with exactly these mounts (`<volume>`, at its default path) in place. */
  complete(...volumes: readonly string[]): object {
    return {
      records: volumes.map((volume) => `${volume} ${this.path(volume)} mounted`),
      mounts: volumes.map((volume) => this.path(volume)),
      devices: volumes.map((volume) => `vol_${volume}`),
      attachments: volumes.map((volume) => `vol_${volume} attached`),
      violations: [],
    };
  }

  async #closeJournals(): Promise<void> {
    const journals = this.#journals;
    this.#journals = [];
    for (const journal of journals) await journal.close();
  }
}
