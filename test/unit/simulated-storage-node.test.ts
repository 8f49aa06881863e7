import test from 'ava';
import { problem } from '../../src/domain/errors.ts';
import { SimulatedStorageNode } from '../../src/storage-node/simulator/simulated-storage-node.ts';
import { codes, exportsOf, mediaOf, VolumeRequests } from '../contract/storage-node-suite.ts';

test('a failing item is answered with its problem, its neighbours are carried out', async (t) => {
  const node = new SimulatedStorageNode();
  const [one, two] = [new VolumeRequests(node), new VolumeRequests(node)];
  const fault = node.inject({
    kind: 'provision',
    volumeId: one.volumeId,
    effect: 'fail',
    problem: problem('out-of-space', 'full'),
  });
  t.deepEqual(codes(await node.provision([one.provision(1), two.provision(1)])), ['out-of-space', 'ok']);
  t.deepEqual(codes(await node.provision([one.provision(1)])), ['ok']);
  t.is(fault.hits, 1);
});

test('a call that throws tells nobody whether its effect landed', async (t) => {
  const node = new SimulatedStorageNode();
  const [one, two] = [new VolumeRequests(node), new VolumeRequests(node)];
  node.inject({ volumeId: one.volumeId, effect: 'throw' });
  node.inject({ volumeId: two.volumeId, effect: 'throw', landed: true });
  const error = await t.throwsAsync(node.provision([one.provision(1), two.provision(1)]));
  t.like(error, { code: 'storage-node-unavailable' });
  t.is((await mediaOf(node)).join(), `${two.volumeId}.1 16777216`);
});

test('a delayed call goes on when it is released', async (t) => {
  const node = new SimulatedStorageNode();
  const volume = new VolumeRequests(node);
  const fault = node.inject({ effect: 'delay' });
  const call = node.provision([volume.provision(1)]);
  t.deepEqual(await mediaOf(node), []);
  fault.release();
  t.deepEqual(codes(await call), ['ok']);
  t.is((await mediaOf(node)).length, 1);
});

test('hazard 1: a late unexport does not touch what a newer generation exported', async (t) => {
  const node = new SimulatedStorageNode();
  const volume = new VolumeRequests(node);
  await node.provision([volume.provision(1)]);
  await node.export([volume.export(2, 1, [0])]);
  const fault = node.inject({ kind: 'unexport', effect: 'late' });
  await t.throwsAsync(node.unexport([volume.unexport(3, [0])]));
  t.deepEqual(codes(await node.export([volume.export(4, 1, [0])])), ['ok']);
  fault.release();
  await node.lateEffectsSettled();
  t.deepEqual(await exportsOf(node), [`${volume.volumeId} ${volume.attachmentId}@4 0`]);
});

test('a late effect that nothing overtook lands', async (t) => {
  const node = new SimulatedStorageNode();
  const volume = new VolumeRequests(node);
  const fault = node.inject({ kind: 'provision', effect: 'late' });
  await t.throwsAsync(node.provision([volume.provision(1)]));
  t.deepEqual(await mediaOf(node), []);
  fault.release();
  await node.lateEffectsSettled();
  t.is((await mediaOf(node)).length, 1);
});

test('volumes that were never seen can be taken to exist', async (t) => {
  const node = new SimulatedStorageNode({ assumeExisting: true });
  const volume = new VolumeRequests(node);
  t.deepEqual(codes(await node.export([volume.export(7, 3, [0])])), ['ok']);
  t.deepEqual(codes(await node.export([volume.export(6, 3, [0])])), ['stale-generation']);
  t.deepEqual(codes(await node.unexport([volume.unexport(8, [0])])), ['ok']);
  t.deepEqual(codes(await node.wipe([volume.wipe(9, 3)])), ['ok']);
});

test('volumes that are taken to exist take a bounded amount of memory, exported ones stay', async (t) => {
  const node = new SimulatedStorageNode({ assumeExisting: true, volumesHeld: 1_000 });
  const exported = new VolumeRequests(node);
  await node.export([exported.export(5, 1, [0])]);
  for (let call = 0; call < 20; call += 1) {
    const volumes = Array.from({ length: 500 }, () => new VolumeRequests(node));
    await node.unexport(volumes.map((volume) => volume.unexport(2, [1])));
  }
  t.true(node.volumesKnown <= 3_000);
  t.deepEqual(codes(await node.export([exported.export(4, 1, [0])])), ['stale-generation']);
  t.is((await exportsOf(node)).length, 1);
});

test('provisioning more than there is space for is out of space', async (t) => {
  const node = new SimulatedStorageNode({ totalBytes: 40 * 1024 * 1024 });
  const volumes = [new VolumeRequests(node), new VolumeRequests(node), new VolumeRequests(node)];
  const results = await node.provision(volumes.map((volume) => volume.provision(1)));
  t.deepEqual(codes(results), ['ok', 'ok', 'out-of-space']);
  t.is((await node.space()).availableBytes, 8 * 1024 * 1024);
});
