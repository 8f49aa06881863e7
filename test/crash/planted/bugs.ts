/**
 * Bugs that are planted around the product's own code, by putting something else in the place of one of its ports. Each
 * says what the checker has to complain about: a checker that does not is worth nothing.
 */
import assert from 'node:assert';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FileBackend } from '../../../src/backends/file/file-backend.ts';
import type { StandaloneParts } from '../../../src/bin/compose/standalone.ts';
import { volumesDirectory } from '../../../src/bin/compose/storage-node.ts';
import type { StoreThreadData } from '../../../src/bin/store-thread.ts';
import type { Config } from '../../../src/config/config.ts';
import { limits } from '../../../src/config/limits.ts';
import { LocalExporter } from '../../../src/fabric/local/local-exporter.ts';
import type { DeviceProof, DeviceTarget, Host } from '../../../src/host/host.ts';
import { InProcessStorageNode } from '../../../src/storage-node/in-process/in-process-storage-node.ts';
import type { StorageNode, WipeRequest } from '../../../src/storage-node/storage-node.ts';
import { nothing } from '../../../src/store/kysely/journal.ts';
import type { NewBatch, Store } from '../../../src/store/store.ts';
import { openStoreThread } from '../../../src/store/thread/store-thread.ts';
import { standingIn } from './standing-in.ts';

export interface PlantedBug {
  readonly about: string;
  /** Codes of complaints, one of which must come. */
  readonly expected: readonly string[];
  /** Only a power cut shows it: to a process that is killed the page cache is as good as the disk. */
  readonly cut?: boolean;
  /** Only a container that holds the mounts shows it. */
  readonly held?: boolean;
  plant(real: StandaloneParts): StandaloneParts;
}

function inStore(change: (store: Store) => Partial<Store>) {
  return (real: StandaloneParts): StandaloneParts => ({
    ...real,
    openStore: async (...args) => {
      const store = await real.openStore(...args);
      return standingIn(store, change(store));
    },
  });
}

function inNode(change: (node: StorageNode, config: Config) => Partial<StorageNode>) {
  return (real: StandaloneParts): StandaloneParts => ({
    ...real,
    openStorageNode: async (config, mayAct) => {
      const node = await real.openStorageNode(config, mayAct);
      return standingIn(node, change(node, config));
    },
  });
}

function inHost(change: (host: Host) => Partial<Host>) {
  return (real: StandaloneParts): StandaloneParts => ({
    ...real,
    openHost: async (config, log) => {
      const host = await real.openHost(config, log);
      return standingIn(host, change(host));
    },
  });
}

function goneProof({ volumeId, mediaGeneration }: DeviceTarget): DeviceProof {
  return { kind: 'gone', method: 'planted', device: null, volumeId, mediaGeneration };
}

const batchesChanged = (change: (batch: NewBatch) => NewBatch) =>
  inStore((store) => ({
    batchAccept: (batches) => store.batchAccept(batches.map(change)),
    batchAcceptAdvance: (batches, options) => store.batchAcceptAdvance(batches.map(change), options),
  }));

const lateMs = 60;

/** Wiped and reported so, but the old owner's bytes are on the new medium. */
function unwiped(node: StorageNode, config: Config): Partial<StorageNode> {
  const pathOf = (volumeId: string, generation: number) =>
    join(volumesDirectory(config), `${volumeId}.${generation}.img`);
  return {
    wipe: async (requests) => {
      const bytes = requests.map(({ volumeId, oldMediaGeneration }) =>
        readOrNull(pathOf(volumeId, oldMediaGeneration)),
      );
      const results = await node.wipe(requests);
      for (const [index, { volumeId, newMediaGeneration }] of requests.entries()) {
        const old = bytes[index] ?? null;
        if (results[index]?.ok === true && old !== null) writeFileSync(pathOf(volumeId, newMediaGeneration), old);
      }
      return results;
    },
  };
}

function readOrNull(path: string): Buffer | null {
  try {
    return readFileSync(path);
  } catch {
    return null;
  }
}

/** The wipe before the last one lands once more, past the fence. */
async function openUnfencedNode(config: Config): Promise<StorageNode> {
  const { name, allocation, reservePercent } = config.storageNode;
  const backend = await FileBackend.open({ directory: volumesDirectory(config), allocation, reservePercent });
  const earlier = new Map<string, WipeRequest>();
  const late = standingIn(backend, {
    wipe: async (request: WipeRequest) => {
      const before = earlier.get(request.volumeId);
      earlier.set(request.volumeId, request);
      const result = await backend.wipe(request);
      if (before !== undefined) setTimeout(() => void backend.wipe(before), lateMs);
      return result;
    },
  });
  const exporter = await LocalExporter.open({ dataDirectory: config.dataDir });
  return InProcessStorageNode.open({ name, dataDirectory: config.dataDir, backends: [late], exporter });
}

function formattingAgain(host: Host): Partial<Host> {
  const formatted = new Set<string>();
  return {
    attach: async (target) => {
      const device = await host.attach(target);
      const key = `${target.volumeId} ${target.epoch}`;
      if (!formatted.has(key)) await host.format(device, target, 'ext4').catch(() => undefined);
      formatted.add(key);
      return device;
    },
  };
}

function openUnsyncedStore(config: Pick<Config, 'store' | 'defaultFlowAction'>, onFatal: (message: string) => void) {
  assert(config.store.kind === 'sqlite');
  const options = {
    backlogOperationsMax: limits.journalBacklogOperations,
    defaultFlowAction: config.defaultFlowAction,
  };
  const workerData: StoreThreadData = { file: config.store.file, options };
  return openStoreThread({ moduleUrl: new URL('./unsynced-store-thread.ts', import.meta.url), workerData, onFatal });
}

const bugs = {
  'wipe-skipped': {
    about: 'a wipe that is reported and did not happen',
    expected: ['foreign-bytes'],
    plant: inNode(unwiped),
  },
  'acknowledged-before-commit': {
    about: 'an operation that is acknowledged before the journal has it',
    expected: ['acknowledged-lost'],
    plant: inStore((store) => ({
      batchAcceptAdvance: async (batches) => {
        void sleep(10 * lateMs).then(() => store.batchAccept(batches));
        const answers = batches.map(({ id }) => ({ accepted: true as const, batch: id, replay: false }));
        return { answers, group: nothing };
      },
    })),
  },
  'gone-without-clearing': {
    about: 'a host that says "gone" and leaves the loop device',
    expected: ['device-left-after-detach', 'loop-devices-differ'],
    plant: inHost(() => ({ detach: async (target) => goneProof(target) })),
  },
  'gone-while-held': {
    about: 'a host that says "gone" though a container still holds the filesystem',
    expected: ['device-left-after-detach', 'foreign-bytes'],
    held: true,
    plant: inHost((host) => ({ detach: (target) => host.detach(target).catch(() => goneProof(target)) })),
  },
  'lun-free-before-gone': {
    about: 'a volume and its LUN that are free a moment before the device is gone',
    expected: ['device-left-after-detach'],
    plant: inHost((host) => ({
      detach: async (target) => {
        void sleep(10 * lateMs).then(() => host.detach(target).catch(() => undefined));
        return goneProof(target);
      },
    })),
  },
  'late-wipe-accepted': {
    about: 'a delayed wipe of an earlier owner that lands on the present one',
    expected: ['files-differ', 'fsynced-lost', 'medium-unreadable'],
    plant: (real) => ({ ...real, openStorageNode: openUnfencedNode }),
  },
  'formatted-again': {
    about: 'a filesystem that is made anew at every attachment',
    expected: ['fsynced-lost'],
    plant: inHost(formattingAgain),
  },
  'unexport-skipped': {
    about: 'an unexport that is reported and did not happen',
    expected: ['exports-differ'],
    plant: inNode(() => ({ unexport: async (requests) => requests.map(() => ({ ok: true as const, value: null })) })),
  },
  'keys-forgotten': {
    about: 'idempotency keys that the journal does not keep',
    expected: ['replay-differs'],
    plant: batchesChanged((batch) => ({ ...batch, idempotency: null })),
  },
  'atomicity-forgotten': {
    about: 'all-or-nothing batches that are carried out operation by operation',
    expected: ['batch-in-part', 'request-in-part'],
    plant: batchesChanged((batch) => ({ ...batch, atomicity: 'per-operation' })),
  },
  'commits-not-synced': {
    about: 'commits that are not fsynced, and a power cut',
    expected: ['acknowledged-lost', 'store-behind-data'],
    cut: true,
    plant: (real) => ({ ...real, openStore: openUnsyncedStore }),
  },
} satisfies Readonly<Record<string, PlantedBug>>;

export type PlantedBugName = keyof typeof bugs;
export const plantedBugs: Readonly<Record<PlantedBugName, PlantedBug>> = bugs;
export const plantedBugNames = Object.keys(bugs) as readonly PlantedBugName[];
