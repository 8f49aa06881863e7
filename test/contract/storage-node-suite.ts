/** The contract of every storage node; each adapter runs all of it. */
import test, { type ExecutionContext } from 'ava';
import { Failure } from '../../src/domain/errors.ts';
import { newId } from '../../src/domain/ids.ts';
import type {
  DestroyRequest,
  EffectResult,
  ExportRequest,
  ProvisionRequest,
  StorageNode,
  UnexportRequest,
  WipeRequest,
} from '../../src/storage-node/storage-node.ts';

export interface NodeUnderTest {
  readonly node: StorageNode;
  /** Closes the node and opens another one on the same data. */
  reopen(): Promise<StorageNode>;
  /** What the node is told when it asks whether it may act; at first it may. */
  setMayAct(answer: boolean): void;
}

export const sizeBytes = 16 * 1024 * 1024;
export const initiatorWwpn = '20:00:02:00:00:00:00:a0';

/** Requests about one volume, each with its generation. */
export class VolumeRequests {
  readonly volumeId = newId('vol');
  readonly attachmentId = newId('att');
  readonly #backend: string;
  readonly #targetWwpn: string;

  constructor(node: StorageNode) {
    this.#backend = node.capabilities.backends[0] ?? '';
    this.#targetWwpn = node.capabilities.targetPorts[0]?.wwpn ?? '';
  }

  provision(generation: number, changes: Partial<ProvisionRequest> = {}): ProvisionRequest {
    const { volumeId } = this;
    const filesystem = 'ext4';
    return {
      volumeId,
      generation,
      backend: this.#backend,
      mediaGeneration: generation,
      sizeBytes,
      filesystem,
      ...changes,
    };
  }

  wipe(generation: number, oldMediaGeneration: number): WipeRequest {
    const medium = { oldMediaGeneration, newMediaGeneration: generation, sizeBytes, filesystem: 'ext4' } as const;
    return { volumeId: this.volumeId, generation, backend: this.#backend, ...medium };
  }

  destroy(generation: number): DestroyRequest {
    return { volumeId: this.volumeId, generation, backend: this.#backend };
  }

  export(generation: number, mediaGeneration: number, luns: readonly number[]): ExportRequest {
    const identity = { serial: 'serial', wwid: 'naa.6001405', epoch: 1, readOnly: false };
    return { ...this.unexport(generation, luns), ...identity, mediaGeneration };
  }

  unexport(generation: number, luns: readonly number[]): UnexportRequest {
    const paths = luns.map((lun) => ({ initiatorWwpn, targetWwpn: this.#targetWwpn, lun }));
    return { volumeId: this.volumeId, attachmentId: this.attachmentId, generation, paths };
  }
}

export function codes(results: readonly EffectResult<unknown>[]): string[] {
  return results.map((result) => (result.ok ? 'ok' : result.problem.code));
}

export async function mediaOf(node: StorageNode): Promise<string[]> {
  const { media } = await node.inventory();
  return media.map((each) => `${each.volumeId}.${each.mediaGeneration} ${each.sizeBytes}`).sort();
}

export async function exportsOf(node: StorageNode): Promise<string[]> {
  const { exports } = await node.inventory();
  return exports.map((each) => `${each.volumeId} ${each.attachmentId}@${each.generation} ${each.path.lun}`).sort();
}

async function nowAndAfterRestart(under: NodeUnderTest, check: (node: StorageNode) => Promise<void>): Promise<void> {
  await check(under.node);
  await check(await under.reopen());
}

export function storageNodeSuite(adapter: string, open: (t: ExecutionContext) => Promise<NodeUnderTest>): void {
  const statement = (text: string, run: (t: ExecutionContext, under: NodeUnderTest) => Promise<void>) =>
    test.serial(`${adapter}: ${text}`, async (t) => run(t, await open(t)));

  statement('a provisioned medium is there, formatted, and a repeat changes nothing', async (t, { node }) => {
    const volume = new VolumeRequests(node);
    const first = await node.provision([volume.provision(1)]);
    t.deepEqual(first, [{ ok: true, value: { formatted: true } }]);
    t.deepEqual(await node.provision([volume.provision(1)]), first);
    t.deepEqual(await node.provision([volume.provision(2, { mediaGeneration: 1 })]), first);
    t.deepEqual(await mediaOf(node), [`${volume.volumeId}.1 ${sizeBytes}`]);
  });

  statement('a node that may not act begins nothing, and says nothing of what it was asked', async (t, under) => {
    const { node } = under;
    const [volume, other] = [new VolumeRequests(node), new VolumeRequests(node)];
    await node.provision([volume.provision(1)]);
    const before = [await mediaOf(node), await exportsOf(node)];
    under.setMayAct(false);
    const calls = [
      () => node.provision([other.provision(1)]),
      () => node.export([volume.export(2, 1, [0])]),
      () => node.unexport([volume.unexport(2, [0])]),
      () => node.wipe([volume.wipe(2, 1)]),
      () => node.destroy([volume.destroy(2)]),
    ];
    for (const call of calls) {
      const failure = await t.throwsAsync(call, { instanceOf: Failure });
      t.is(failure?.code, 'storage-node-unavailable');
    }
    t.deepEqual([await mediaOf(node), await exportsOf(node)], before);
    under.setMayAct(true);
    t.deepEqual(codes(await node.provision([volume.provision(1)])), ['ok']);
  });

  statement('a medium that nobody asked to format is not formatted, nor said to be', async (t, { node }) => {
    const request = new VolumeRequests(node).provision(1, { filesystem: null });
    for (const _ of ['first', 'repeat']) {
      t.deepEqual(await node.provision([request]), [{ ok: true, value: { formatted: false } }]);
    }
  });

  statement('provisioning again under a newer medium leaves that one only', async (t, { node }) => {
    const volume = new VolumeRequests(node);
    await node.provision([volume.provision(1)]);
    t.deepEqual(codes(await node.provision([volume.provision(4)])), ['ok']);
    t.deepEqual(await mediaOf(node), [`${volume.volumeId}.4 ${sizeBytes}`]);
  });

  statement('a medium of another size is not taken for the one that is asked for', async (t, { node }) => {
    const volume = new VolumeRequests(node);
    await node.provision([volume.provision(1)]);
    const other = volume.provision(1, { sizeBytes: 2 * sizeBytes });
    t.deepEqual(codes(await node.provision([other])), ['identity-mismatch']);
    t.deepEqual(await mediaOf(node), [`${volume.volumeId}.1 ${sizeBytes}`]);
  });

  statement('items are answered in order, and a refused one leaves its neighbours alone', async (t, { node }) => {
    const [first, second, third] = [new VolumeRequests(node), new VolumeRequests(node), new VolumeRequests(node)];
    await node.provision([second.provision(9)]);
    const results = await node.provision([first.provision(1), second.provision(8), third.provision(1)]);
    t.deepEqual(codes(results), ['ok', 'stale-generation', 'ok']);
    t.is((await mediaOf(node)).length, 3);
  });

  statement('items of one volume in one call take effect in their order', async (t, { node }) => {
    const volume = new VolumeRequests(node);
    await node.provision([volume.provision(1)]);
    const results = await node.export([3, 2, 4].map((generation) => volume.export(generation, 1, [generation])));
    t.deepEqual(codes(results), ['ok', 'stale-generation', 'ok']);
    t.deepEqual(await exportsOf(node), [`${volume.volumeId} ${volume.attachmentId}@4 4`]);
  });

  statement('hazard 1: whatever comes with a lower generation is refused, also after a restart', async (t, under) => {
    const volume = new VolumeRequests(under.node);
    await under.node.provision([volume.provision(5)]);
    await nowAndAfterRestart(under, async (node) => {
      t.deepEqual(codes(await node.provision([volume.provision(4)])), ['stale-generation']);
      t.deepEqual(codes(await node.wipe([volume.wipe(4, 5)])), ['stale-generation']);
      t.deepEqual(codes(await node.destroy([volume.destroy(4)])), ['stale-generation']);
      t.deepEqual(codes(await node.export([volume.export(4, 5, [1])])), ['stale-generation']);
      t.deepEqual(codes(await node.unexport([volume.unexport(4, [1])])), ['stale-generation']);
      t.deepEqual(await mediaOf(node), [`${volume.volumeId}.5 ${sizeBytes}`]);
      t.deepEqual(await exportsOf(node), []);
    });
  });

  statement('hazard 1: an effect that comes after the destroy brings nothing back', async (t, under) => {
    const volume = new VolumeRequests(under.node);
    await under.node.provision([volume.provision(1)]);
    t.deepEqual(codes(await under.node.destroy([volume.destroy(3)])), ['ok']);
    await nowAndAfterRestart(under, async (node) => {
      t.deepEqual(codes(await node.provision([volume.provision(2)])), ['stale-generation']);
      t.deepEqual(await mediaOf(node), []);
    });
  });

  statement('a wipe leaves a new medium alone, and its repeat answers the same', async (t, { node }) => {
    const volume = new VolumeRequests(node);
    await node.provision([volume.provision(1)]);
    const [first] = await node.wipe([volume.wipe(2, 1)]);
    t.true(first?.ok && first.value.formatted);
    t.true(first?.ok && first.value.proof.generation === 2 && first.value.proof.verifiedBytes === sizeBytes);
    t.deepEqual(await node.wipe([volume.wipe(2, 1)]), [first]);
    t.deepEqual(await mediaOf(node), [`${volume.volumeId}.2 ${sizeBytes}`]);
  });

  statement('a wipe asked for again in a later round ends with that round’s medium', async (t, { node }) => {
    const volume = new VolumeRequests(node);
    await node.provision([volume.provision(1)]);
    await node.wipe([volume.wipe(2, 1)]);
    t.deepEqual(codes(await node.wipe([volume.wipe(3, 1)])), ['ok']);
    t.deepEqual(await mediaOf(node), [`${volume.volumeId}.3 ${sizeBytes}`]);
  });

  statement('destroy removes every medium; what is absent is destroyed already', async (t, { node }) => {
    const volume = new VolumeRequests(node);
    await node.provision([volume.provision(1)]);
    t.deepEqual(codes(await node.destroy([volume.destroy(2), volume.destroy(3)])), ['ok', 'ok']);
    t.deepEqual(codes(await node.destroy([new VolumeRequests(node).destroy(1)])), ['ok']);
    t.deepEqual(await mediaOf(node), []);
  });

  statement('exactly the stated paths are exported, also after a restart', async (t, under) => {
    const volume = new VolumeRequests(under.node);
    await under.node.provision([volume.provision(1)]);
    t.deepEqual(codes(await under.node.export([volume.export(2, 1, [0, 1])])), ['ok']);
    t.deepEqual(codes(await under.node.export([volume.export(2, 1, [0, 1])])), ['ok']);
    const named = (generation: number, lun: number) => `${volume.volumeId} ${volume.attachmentId}@${generation} ${lun}`;
    t.deepEqual(await exportsOf(under.node), [named(2, 0), named(2, 1)]);
    t.deepEqual(codes(await under.node.export([volume.export(3, 1, [1, 7])])), ['ok']);
    t.deepEqual(await exportsOf(under.node), [named(3, 1), named(3, 7)]);
    t.deepEqual(await exportsOf(await under.reopen()), [named(3, 1), named(3, 7)]);
  });

  statement('unexport removes every path; what is absent is unexported already', async (t, under) => {
    const volume = new VolumeRequests(under.node);
    await under.node.provision([volume.provision(1)]);
    await under.node.export([volume.export(2, 1, [0, 1])]);
    t.deepEqual(codes(await under.node.unexport([volume.unexport(3, [0]), volume.unexport(4, [])])), ['ok', 'ok']);
    t.deepEqual(await exportsOf(under.node), []);
    t.deepEqual(await exportsOf(await under.reopen()), []);
  });

  statement('a medium that is not there is not exported', async (t, { node }) => {
    const volume = new VolumeRequests(node);
    await node.provision([volume.provision(1)]);
    t.deepEqual(codes(await node.export([volume.export(2, 9, [0])])), ['volume-not-found']);
    t.deepEqual(await exportsOf(node), []);
  });

  statement('a LUN of another attachment is refused, and stays with its holder', async (t, { node }) => {
    const [holder, other] = [new VolumeRequests(node), new VolumeRequests(node)];
    await node.provision([holder.provision(1), other.provision(1)]);
    const results = await node.export([holder.export(2, 1, [4]), other.export(2, 1, [3, 4])]);
    t.deepEqual(codes(results), ['ok', 'resource-in-use']);
    t.deepEqual(await exportsOf(node), [`${holder.volumeId} ${holder.attachmentId}@2 4`]);
    await node.unexport([holder.unexport(3, [4])]);
    t.deepEqual(codes(await node.export([other.export(3, 1, [3, 4])])), ['ok']);
  });

  statement('hazard 2: another store, or one that fell behind, is refused until adopted', async (t, under) => {
    t.is(await under.node.stamp(), null);
    await under.node.setStamp({ storeId: 'one', highestGeneration: 5 });
    await under.node.setStamp({ storeId: 'one', highestGeneration: 7 });
    const node = await under.reopen();
    t.deepEqual(await node.stamp(), { storeId: 'one', highestGeneration: 7 });
    for (const foreign of [
      { storeId: 'one', highestGeneration: 6 },
      { storeId: 'two', highestGeneration: 100 },
    ]) {
      const error = await t.throwsAsync(node.setStamp(foreign));
      t.like(error, { code: 'store-foreign' });
    }
    await node.setStamp({ storeId: 'two', highestGeneration: 1 }, { adopt: true });
    t.deepEqual(await node.stamp(), { storeId: 'two', highestGeneration: 1 });
  });

  statement('what may still be taken is never more than there is', async (t, { node }) => {
    const { totalBytes, availableBytes } = await node.space();
    t.true(availableBytes > 0 && availableBytes <= totalBytes);
  });

  statement('a bulk call of hundreds of items answers each', async (t, { node }) => {
    const volumes = Array.from({ length: 300 }, () => new VolumeRequests(node));
    const made = await node.provision(volumes.map((volume) => volume.provision(1, { filesystem: null })));
    t.true(codes(made).every((code) => code === 'ok'));
    const shown = await node.export(volumes.map((volume, lun) => volume.export(2, 1, [lun])));
    t.true(codes(shown).every((code) => code === 'ok'));
    t.is((await exportsOf(node)).length, 300);
    await node.unexport(volumes.map((volume, lun) => volume.unexport(3, [lun])));
    await node.destroy(volumes.map((volume) => volume.destroy(4)));
    t.deepEqual(await node.inventory(), { media: [], exports: [] });
  });
}
