import type { Logger } from 'pino';
import { type Problem, problem } from '../domain/errors.ts';
import type {
  DestroyRequest,
  ExportFound,
  MediumFound,
  StorageNode,
  StorageNodeInventory,
  UnexportRequest,
} from '../storage-node/storage-node.ts';
import type { MaintenanceStore, NodeIntent } from '../store/store.ts';
import { Failures } from './failures.ts';
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
    const failures = new Failures();
    let changed = 0;
    for (const node of this.#nodes.values()) {
      try {
        changed += await this.#node(node, failures);
      } catch (error) {
        failures.addThrown(node.name, error);
      }
    }
    failures.tell();
    return changed;
  }

  async #node(node: StorageNode, failures: Failures): Promise<number> {
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
    failures.add('matched', (await this.#mismatches(node, found, intent)).map(refusal));
    if (orphans.length + strays.length + missing.length === 0) return 0;
    this.#log.info(
      { storageNode: node.name, orphans: orphans.length, strays: strays.length, missing: missing.length },
      'the storage node is brought in line with the store',
    );
    let changed = 0;
    if (orphans.length > 0) changed += failures.add('unexported', await node.unexport(orphans));
    if (missing.length > 0) changed += failures.add('exported', await node.export(missing));
    if (strays.length > 0) changed += failures.add('destroyed', await node.destroy(strays));
    return changed;
  }

  /** A wipe may have ended after the first look, so they are looked for again: what was outdated then is gone by now. */
  async #mismatches(node: StorageNode, found: StorageNodeInventory, intent: NodeIntent): Promise<Mismatch[]> {
    const suspects = mismatchedMedia(found, intent);
    if (suspects.length === 0) return [];
    const still = new Set((await node.inventory()).media.map(mediumKey));
    return suspects.filter(({ medium }) => still.has(mediumKey(medium)));
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

function orphanMedia({ media }: StorageNodeInventory, intent: NodeIntent): DestroyRequest[] {
  const known = new Set(intent.volumes.map(({ id }) => id));
  const strays = media.filter(({ volumeId }) => !known.has(volumeId));
  const byVolume = new Map(strays.map(({ backend, volumeId }) => [`${backend} ${volumeId}`, { backend, volumeId }]));
  return [...byVolume.values()].map((stray) => ({ ...stray, generation: intent.highestGeneration }));
}

interface Mismatch {
  readonly medium: MediumFound;
  /** That of the volume's row. */
  readonly mediaGeneration: number;
}

/**
 * Media of volumes that are somebody's, or about to be, and of another generation than the store knows. They are told and
 * left alone: what is on them may be what somebody misses. The volume's wipe takes them along.
 */
function mismatchedMedia({ media }: StorageNodeInventory, intent: NodeIntent): Mismatch[] {
  const settled = intent.volumes.filter(({ state }) => state === 'free' || state === 'allocated');
  const wanted = new Map(settled.map(({ id, mediaGeneration }) => [id, mediaGeneration]));
  return media.flatMap((medium) => {
    const mediaGeneration = wanted.get(medium.volumeId);
    if (mediaGeneration === undefined || mediaGeneration === medium.mediaGeneration) return [];
    return [{ medium, mediaGeneration }];
  });
}

function mediumKey({ backend, volumeId, mediaGeneration }: MediumFound): string {
  return `${backend} ${volumeId} ${mediaGeneration}`;
}

function refusal({ medium, mediaGeneration }: Mismatch): { readonly ok: false; readonly problem: Problem } {
  const detail = `${medium.volumeId} has a medium of generation ${medium.mediaGeneration}; the store knows ${mediaGeneration}`;
  return { ok: false, problem: problem('identity-mismatch', detail) };
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
