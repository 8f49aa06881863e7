import { join } from 'node:path';
import { FileBackend } from '../../backends/file/file-backend.ts';
import type { Config } from '../../config/config.ts';
import { LocalExporter } from '../../fabric/local/local-exporter.ts';
import { InProcessStorageNode } from '../../storage-node/in-process/in-process-storage-node.ts';
import { SimulatedStorageNode } from '../../storage-node/simulator/simulated-storage-node.ts';
import type { MayAct, StorageNode } from '../../storage-node/storage-node.ts';
import type { ResourceStore } from '../../store/store.ts';
import { Closers } from './closers.ts';

/** The storage node of this machine: files and local links, or the simulator. */
export async function openStorageNode(config: Config, mayAct: MayAct): Promise<StorageNode> {
  const { name, allocation, reservePercent, kind } = config.storageNode;
  if (kind === 'simulated') return new SimulatedStorageNode({ name, assumeExisting: true, mayAct });
  const backend = await FileBackend.open({
    directory: volumesDirectory(config),
    allocation,
    reservePercent,
    seedParent: config.dataDir,
  });
  const exporter = await Closers.over((closers) => {
    closers.add(() => backend.close());
    return LocalExporter.open({ dataDirectory: config.dataDir });
  });
  return InProcessStorageNode.open({ name, dataDirectory: config.dataDir, backends: [backend], exporter, mayAct });
}

export function volumesDirectory(config: Config): string {
  return join(config.dataDir, 'volumes');
}

export async function registerStorageNode(store: ResourceStore, node: StorageNode): Promise<void> {
  const { exporter, backends, canFence, targetPorts } = node.capabilities;
  const ports = targetPorts.map((port) => ({ ...port, state: 'online' as const }));
  await store.storageNodeRegister({ name: node.name, exporter, backends, canFence, targetPorts: ports });
}
