/**
 * Every action of a real storage node, killed with SIGKILL after each of its steps, then repeated: the inventory, the
 * directories and the bytes must be exactly those of an action that was never disturbed.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { StorageNode } from '../../src/storage-node/storage-node.ts';
import { codes, exportsOf, mediaOf, sizeBytes, VolumeRequests } from '../contract/storage-node-suite.ts';
import { crashAtStep } from '../support/crash-storage-node.ts';
import { testOf } from '../support/groups.ts';
import { openLocalNode, scratchDirectory } from '../support/local-storage-node.ts';
import type { CrashPlan } from '../support/storage-node-crash-child.ts';

const test = testOf('kernel');

interface Sweep {
  readonly method: CrashPlan['method'];
  readonly steps: readonly string[];
  /** What must be there before. */
  prepare(node: StorageNode, volume: VolumeRequests): Promise<void>;
  request(volume: VolumeRequests): unknown;
  repeat(node: StorageNode, volume: VolumeRequests): Promise<string[]>;
  readonly media: readonly number[];
  readonly luns: readonly number[];
}

const sweeps: readonly Sweep[] = [
  {
    method: 'provision',
    steps: ['created', 'formatted', 'synced', 'named', 'durable'],
    prepare: async () => {},
    request: (volume) => volume.provision(1),
    repeat: async (node, volume) => codes(await node.provision([volume.provision(1)])),
    media: [1],
    luns: [],
  },
  {
    method: 'wipe',
    steps: ['erased', 'created', 'formatted', 'synced', 'named', 'durable', 'unlinked'],
    prepare: async (node, volume) => void (await node.provision([volume.provision(1)])),
    request: (volume) => volume.wipe(2, 1),
    repeat: async (node, volume) => codes(await node.wipe([volume.wipe(2, 1)])),
    media: [2],
    luns: [],
  },
  {
    method: 'wipe',
    steps: ['erased', 'named', 'unlinked'],
    prepare: async (node, volume) => void (await node.provision([volume.provision(1)])),
    request: (volume) => volume.wipe(2, 1),
    repeat: async (node, volume) => codes(await node.wipe([volume.wipe(3, 1)])),
    media: [3],
    luns: [],
  },
  {
    method: 'destroy',
    steps: ['erased', 'unlinked', 'removed'],
    prepare: async (node, volume) => void (await node.provision([volume.provision(1)])),
    request: (volume) => volume.destroy(2),
    repeat: async (node, volume) => codes(await node.destroy([volume.destroy(2)])),
    media: [],
    luns: [],
  },
  {
    method: 'export',
    steps: ['logged', 'linked'],
    prepare: async (node, volume) => void (await node.provision([volume.provision(1)])),
    request: (volume) => volume.export(2, 1, [0, 1]),
    repeat: async (node, volume) => codes(await node.export([volume.export(2, 1, [0, 1])])),
    media: [1],
    luns: [0, 1],
  },
  {
    method: 'unexport',
    steps: ['unlinked', 'unlogged'],
    prepare: async (node, volume) => {
      await node.provision([volume.provision(1)]);
      await node.export([volume.export(2, 1, [0, 1])]);
    },
    request: (volume) => volume.unexport(3, [0, 1]),
    repeat: async (node, volume) => codes(await node.unexport([volume.unexport(3, [0, 1])])),
    media: [1],
    luns: [],
  },
];

async function withNode<T>(dataDirectory: string, use: (node: StorageNode) => Promise<T>): Promise<T> {
  const node = await openLocalNode(dataDirectory);
  try {
    return await use(node);
  } finally {
    await node.close();
  }
}

async function prepared(dataDirectory: string, sweep: Sweep): Promise<VolumeRequests> {
  return await withNode(dataDirectory, async (node) => {
    const volume = new VolumeRequests(node);
    await sweep.prepare(node, volume);
    return volume;
  });
}

async function checkLeftAsUndisturbed(
  t: ExecutionContext,
  dataDirectory: string,
  volume: VolumeRequests,
  sweep: Sweep,
) {
  const { volumeId, attachmentId } = volume;
  await withNode(dataDirectory, async (node) => {
    t.deepEqual(
      await mediaOf(node),
      sweep.media.map((generation) => `${volumeId}.${generation} ${sizeBytes}`),
    );
    t.deepEqual(
      await exportsOf(node),
      sweep.luns.map((lun) => `${volumeId} ${attachmentId}@2 ${lun}`),
    );
  });
  const files = (await readdir(join(dataDirectory, 'volumes'))).filter((name) => name !== 'locks');
  t.deepEqual(
    files,
    sweep.media.map((generation) => `${volumeId}.${generation}.img`),
  );
  for (const file of files) {
    t.is((await readFile(join(dataDirectory, 'volumes', file))).readUInt16LE(1080), 0xef53);
  }
  const locks = await readdir(join(dataDirectory, 'volumes', 'locks'));
  t.deepEqual(locks, sweep.media.length === 0 ? [] : [`${volumeId}.lock`]);
}

for (const [index, sweep] of sweeps.entries()) {
  for (const step of sweep.steps) {
    const number = sweep.method === 'wipe' || sweep.method === 'destroy' ? 'hazard 17: ' : '';
    const again = index === 2 ? ' and asked for again in another round' : '';
    test.serial(
      `${number}${sweep.method} killed after "${step}"${again} ends, repeated, as if never disturbed`,
      async (t) => {
        const dataDirectory = await scratchDirectory(t);
        const volume = await prepared(dataDirectory, sweep);
        const crash = await crashAtStep({ dataDirectory, method: sweep.method, request: sweep.request(volume), step });
        t.is(crash.signal, 'SIGKILL');
        await withNode(dataDirectory, async (node) => t.deepEqual(await sweep.repeat(node, volume), ['ok']));
        await checkLeftAsUndisturbed(t, dataDirectory, volume, sweep);
      },
    );
  }
}
