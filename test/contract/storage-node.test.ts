import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { SimulatedStorageNode } from '../../src/storage-node/simulator/simulated-storage-node.ts';
import type { StorageNode } from '../../src/storage-node/storage-node.ts';
import { openLocalNode, scratchDirectory } from '../support/local-storage-node.ts';
import { type NodeUnderTest, storageNodeSuite } from './storage-node-suite.ts';

function reopening(open: (directory: string) => Promise<StorageNode>) {
  return async (t: ExecutionContext): Promise<NodeUnderTest> => {
    const directory = await scratchDirectory(t);
    let current = await open(directory);
    t.teardown(() => current.close());
    const reopen = async () => {
      await current.close();
      current = await open(directory);
      return current;
    };
    return { node: current, reopen };
  };
}

storageNodeSuite(
  'in-process over files and links',
  reopening((directory) => openLocalNode(directory)),
);

storageNodeSuite(
  'in-process over preallocated files without hole punching',
  reopening((directory) => openLocalNode(directory, { file: { allocation: 'full', canPunchHole: false } })),
);

storageNodeSuite(
  'simulator',
  reopening((directory) => SimulatedStorageNode.open({ directory: join(directory, 'simulator') })),
);
