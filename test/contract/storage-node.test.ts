import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { SimulatedStorageNode } from '../../src/storage-node/simulator/simulated-storage-node.ts';
import type { MayAct, StorageNode } from '../../src/storage-node/storage-node.ts';
import { openLocalNode, scratchDirectory } from '../support/local-storage-node.ts';
import { mediaOf, type NodeUnderTest, storageNodeSuite, VolumeRequests } from './storage-node-suite.ts';

function reopening(open: (directory: string, mayAct: MayAct) => Promise<StorageNode>) {
  return async (t: ExecutionContext): Promise<NodeUnderTest> => {
    const directory = await scratchDirectory(t);
    let answer = true;
    const mayAct = () => answer;
    let current = await open(directory, mayAct);
    t.teardown(() => current.close());
    const reopen = async () => {
      await current.close();
      current = await open(directory, mayAct);
      return current;
    };
    const setMayAct = (to: boolean) => {
      answer = to;
    };
    return { node: current, reopen, setMayAct };
  };
}

test('HAZARD 1: what a call has not begun when the node may no longer act is not begun', async (t) => {
  let answers = 0;
  // Both items are let in, and the first of them to its medium.
  const mayAct = () => {
    answers += 1;
    return answers <= 3;
  };
  const node = await openLocalNode(await scratchDirectory(t), { mayAct });
  t.teardown(() => node.close());
  const requests = [new VolumeRequests(node), new VolumeRequests(node)].map((volume) => volume.provision(1));
  await t.throwsAsync(node.provision(requests), { message: /may not act now/ });
  t.is((await mediaOf(node)).length, 1);
});

storageNodeSuite(
  'in-process over files and links',
  reopening((directory, mayAct) => openLocalNode(directory, { mayAct })),
);

storageNodeSuite(
  'in-process over preallocated files without hole punching',
  reopening((directory, mayAct) =>
    openLocalNode(directory, { mayAct, file: { allocation: 'full', canPunchHole: false } }),
  ),
);

storageNodeSuite(
  'simulator',
  reopening((directory, mayAct) => SimulatedStorageNode.open({ mayAct, directory: join(directory, 'simulator') })),
);
