/**
 * One storage node works on a store that several processes share: the effects of a volume can be carried out only where
 * its bytes are, and whoever planned them hands them to the node beside it.
 *
 * The lease is the data directory's, not the process's: a process that was killed does not keep its own successor out.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { limits } from '../../config/limits.ts';
import { Failure } from '../../domain/errors.ts';
import type { MaintenanceStore } from '../../store/store.ts';
import { readJson, replaceJson } from '../../system/durable-file.ts';

const leaseName = 'storage-node';

export interface NodeLeaseOptions {
  readonly store: Pick<MaintenanceStore, 'leaseTake' | 'leaseDrop'>;
  readonly dataDir: string;
  readonly log: Pick<Logger, 'warn'>;
  /** Another storage node has the store now: this process must end. */
  readonly onLost: (reason: string) => void;
}

/** Answers what gives it back. `resource-in-use` while another storage node works on the store. */
export async function takeNodeLease(options: NodeLeaseOptions): Promise<() => Promise<void>> {
  const { store, log, onLost } = options;
  const owner = await ownerOf(options.dataDir);
  const take = async () => (await store.leaseTake(leaseName, owner, limits.nodeLeaseMs)) !== null;
  if (!(await take())) throw new Failure('resource-in-use', inUse);
  const timer = setInterval(() => {
    take().then(
      (isHeld) => (isHeld ? undefined : onLost('another storage node works on this store now')),
      (error: unknown) => log.warn({ err: error }, 'the lease of the storage node could not be extended'),
    );
  }, limits.nodeLeaseRenewMs);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await store.leaseDrop(leaseName, owner);
  };
}

const inUse =
  'The storage node of another data directory works on this store, and there can be one. ' +
  `Replicas beside it are run with --no-worker; if it is gone for good, try again in ${limits.nodeLeaseMs / 1_000} s.`;

async function ownerOf(dataDir: string): Promise<string> {
  const path = join(dataDir, 'node-id.json');
  const kept = await readJson(path);
  if (typeof kept === 'object' && kept !== null && 'id' in kept && typeof kept.id === 'string') return kept.id;
  if (kept !== null) throw new Failure('data-damaged', `${path} holds no id.`);
  const id = randomUUID();
  await replaceJson(path, { id });
  return id;
}
