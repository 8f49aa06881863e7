/** Real storage nodes of this process (files and links) in scratch directories, gone after the test. */
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { FileBackend, type FileBackendOptions } from '../../src/backends/file/file-backend.ts';
import { LocalExporter, type LocalExporterOptions } from '../../src/fabric/local/local-exporter.ts';
import { InProcessStorageNode } from '../../src/storage-node/in-process/in-process-storage-node.ts';
import type { MayAct, StorageNode } from '../../src/storage-node/storage-node.ts';

export async function scratchDirectory(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp('/var/tmp/fc-node-');
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

export interface LocalNodeOptions {
  readonly file?: Partial<FileBackendOptions>;
  readonly exporter?: Partial<LocalExporterOptions>;
  readonly mayAct?: MayAct;
}

export async function openLocalNode(dataDirectory: string, options: LocalNodeOptions = {}): Promise<StorageNode> {
  const backend = await FileBackend.open({
    directory: join(dataDirectory, 'volumes'),
    ...smallReserve,
    ...options.file,
  });
  const { mayAct = () => true } = options;
  const exporter = await LocalExporter.open({ dataDirectory, seed: 'test', ...options.exporter });
  return await InProcessStorageNode.open({ name: 'node', dataDirectory, backends: [backend], exporter, mayAct });
}

const smallReserve = { reserveBytes: 0, reservePercent: 0 };
