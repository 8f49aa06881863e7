import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { SimulatedStorageNode } from '../../src/storage-node/simulator/simulated-storage-node.ts';
import type { MayAct, StorageNode } from '../../src/storage-node/storage-node.ts';
import { openLocalNode, scratchDirectory } from '../support/local-storage-node.ts';
import { type NodeUnderTest, storageNodeSuite } from './storage-node-suite.ts';

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
