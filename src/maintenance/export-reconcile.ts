import type { Logger } from 'pino';
import type { ExportFound, StorageNode, StorageNodeInventory, UnexportRequest } from '../storage-node/storage-node.ts';
import type { MaintenanceStore, NodeIntent } from '../store/store.ts';
import type { Ownership } from './ownership.ts';
import type { Reconciler } from './reconciler.ts';

/**
 * Media and exports on the storage nodes against the store. Reality is read BEFORE intent, and intent is written before
 * anything is made: what was found and is then unknown to the store is an orphan, never something being made.
 */
export class ExportReconcile implements Reconciler {
  readonly name = 'export-reconcile';
  readonly #store: MaintenanceStore;
  readonly #nodes: ReadonlyMap<string, StorageNode>;
  readonly #ownership: Ownership;
  readonly #log: Logger;

  constructor(options: {
    readonly store: MaintenanceStore;
    readonly nodes: ReadonlyMap<string, StorageNode>;
    readonly ownership: Ownership;
    readonly log: Logger;
  }) {
    this.#store = options.store;
    this.#nodes = options.nodes;
    this.#ownership = options.ownership;
    this.#log = options.log;
  }

  async run(): Promise<number> {
    let changed = 0;
    for (const node of this.#nodes.values()) changed += await this.#node(node);
    return changed;
  }

  async #node(node: StorageNode): Promise<number> {
    const found = await node.inventory();
    await this.#store.storageNodeSeen(node.name);
    const intent = await this.#store.nodeIntent(node.name, keysOf(found));
    const orphans = orphanExports(found, intent);
    const strays = orphanMedia(found, intent);
    const missing = missingExports(found, intent);
    // Where nothing differs as well: a store that falls behind later is known by how far this one was seen to be.
    if (!(await this.#ownership.isOurs(node))) {
      this.#log.warn(
        { storageNode: node.name, orphans: orphans.length, strays: strays.length },
        'the data belongs to another or a newer store: nothing is changed',
      );
      return 0;
    }
    if (orphans.length + strays.length + missing.length === 0) return 0;
    this.#log.info(
      { storageNode: node.name, orphans: orphans.length, strays: strays.length, missing: missing.length },
      'the storage node is brought in line with the store',
    );
    if (orphans.length > 0) await node.unexport(orphans);
    if (missing.length > 0) await node.export(missing);
    if (strays.length > 0) await node.destroy(strays);
    return orphans.length + strays.length + missing.length;
  }
}

function keysOf({ media, exports }: StorageNodeInventory) {
  return {
    volumeIds: [...new Set(media.map(({ volumeId }) => volumeId))],
    attachmentIds: [...new Set(exports.map(({ attachmentId }) => attachmentId))],
  };
}

/** Exports whose attachment the store does not know (any more). */
function orphanExports({ exports }: StorageNodeInventory, intent: NodeIntent): UnexportRequest[] {
  const known = new Set(intent.attachments.map(({ attachment }) => attachment.id));
  const byAttachment = new Map<string, ExportFound[]>();
  for (const found of exports) {
    if (known.has(found.attachmentId)) continue;
    byAttachment.set(found.attachmentId, [...(byAttachment.get(found.attachmentId) ?? []), found]);
  }
  return [...byAttachment].map(([attachmentId, list]) => ({
    attachmentId,
    volumeId: list[0]?.volumeId ?? '',
    generation: intent.highestGeneration,
    paths: list.map(({ path }) => path),
  }));
}

function orphanMedia({ media }: StorageNodeInventory, intent: NodeIntent) {
  const known = new Set(intent.volumes.map(({ id }) => id));
  const strays = new Set(media.flatMap(({ volumeId }) => (known.has(volumeId) ? [] : [volumeId])));
  return [...strays].map((volumeId) => ({ volumeId, backend: 'file', generation: intent.highestGeneration }));
}

/** Exports of live attachments that are not there, e.g. after the node's machine was restarted. */
function missingExports({ exports }: StorageNodeInventory, intent: NodeIntent) {
  const there = new Set(
    exports.map(({ attachmentId, path }) => `${attachmentId}|${path.initiatorWwpn}|${path.targetWwpn}`),
  );
  return intent.attachments.flatMap(({ attachment, export: request }) => {
    if (attachment.state !== 'exported' && attachment.state !== 'attached') return [];
    const missing = request.paths.some(
      (path) => !there.has(`${attachment.id}|${path.initiatorWwpn}|${path.targetWwpn}`),
    );
    return missing ? [request] : [];
  });
}
