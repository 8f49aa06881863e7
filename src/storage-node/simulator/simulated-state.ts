/**
 * What a simulated storage node holds: plain data and synchronous effects, each under the fence.
 *
 * Cheap enough for millions of items: no promises, no copies. With `assumeExisting` a volume that was never seen is
 * taken to be there, with the medium that is asked for. Such volumes, and the fences of destroyed ones, are forgotten
 * again, longest unused first, once more than `volumesHeld` are known.
 */
import type { Path } from '../../domain/attachment.ts';
import { exactly, formatByteCount } from '../../domain/byte-count.ts';
import { type Problem, problem } from '../../domain/errors.ts';
import type { RecordState } from '../../system/record-log.ts';
import type {
  DestroyRequest,
  EffectResult,
  ExportFound,
  ExportRequest,
  MediumFound,
  ProvisionAnswer,
  ProvisionRequest,
  UnexportRequest,
  WipeAnswer,
  WipeRequest,
} from '../storage-node.ts';

interface SimulatedVolume {
  highest: number;
  /** Null: no bytes. */
  medium: SimulatedMedium | null;
  exports: number;
}

interface SimulatedMedium {
  readonly mediaGeneration: number;
  readonly sizeBytes: number;
  readonly formatted: boolean;
}

interface SimulatedExport {
  readonly volumeId: string;
  readonly generation: number;
  readonly paths: readonly Path[];
}

/** The whole present state of one volume or one attachment; replaying the last one of each is enough. */
export type SimulatedRecord =
  | readonly [kind: 'volume', id: string, highest: number | null, medium: SimulatedMedium | null]
  | readonly [kind: 'export', id: string, state: SimulatedExport | null];

export interface SimulatedStateOptions {
  readonly assumeExisting: boolean;
  readonly volumesHeld: number;
  readonly totalBytes: number;
  readonly formats: boolean;
}

const done: EffectResult<null> = { ok: true, value: null };

export class SimulatedState implements RecordState<SimulatedRecord> {
  readonly #options: SimulatedStateOptions;
  readonly #volumes = new Map<string, SimulatedVolume>();
  readonly #exports = new Map<string, SimulatedExport>();
  readonly #ownerByLink = new Map<string, string>();
  #usedBytes = 0;
  #forgetAt: number;
  #changed: SimulatedRecord[] | null = null;
  #isReplaying = true;

  constructor(options: SimulatedStateOptions) {
    this.#options = options;
    this.#forgetAt = options.volumesHeld + forgetAtOnce;
  }

  get availableBytes(): number {
    return Math.max(0, this.#options.totalBytes - this.#usedBytes);
  }

  get volumesKnown(): number {
    return this.#volumes.size;
  }

  /** Of all effects on the volumes that are known. */
  get highestGeneration(): number {
    let highest = 0;
    for (const volume of this.#volumes.values()) highest = Math.max(highest, volume.highest);
    return highest;
  }

  provision(request: ProvisionRequest): EffectResult<ProvisionAnswer> {
    const volume = this.#admit(request.volumeId, request.generation);
    if ('code' in volume) return { ok: false, problem: volume };
    const refusal = this.#makeMedium(volume, { ...request, newMediaGeneration: request.mediaGeneration });
    if (refusal !== null) return { ok: false, problem: refusal };
    this.#noteVolume(request.volumeId, volume);
    return { ok: true, value: { formatted: volume.medium?.formatted ?? false } };
  }

  wipe(request: WipeRequest): EffectResult<WipeAnswer> {
    const volume = this.#admit(request.volumeId, request.generation);
    if ('code' in volume) return { ok: false, problem: volume };
    const refusal = this.#makeMedium(volume, request);
    if (refusal !== null) return { ok: false, problem: refusal };
    this.#noteVolume(request.volumeId, volume);
    const { generation, sizeBytes } = request;
    const proof = { method: 'simulated', verifiedBytes: sizeBytes, generation } as const;
    return { ok: true, value: { formatted: volume.medium?.formatted ?? false, proof } };
  }

  destroy(request: DestroyRequest): EffectResult<null> {
    const volume = this.#admit(request.volumeId, request.generation);
    if ('code' in volume) return { ok: false, problem: volume };
    this.#setMedium(volume, null);
    this.#noteVolume(request.volumeId, volume);
    return done;
  }

  export(request: ExportRequest): EffectResult<null> {
    const { attachmentId, volumeId, generation, mediaGeneration, paths } = request;
    const volume = this.#admit(volumeId, generation);
    if ('code' in volume) return { ok: false, problem: volume };
    if (volume.medium === null && this.#options.assumeExisting) {
      this.#setMedium(volume, { mediaGeneration, sizeBytes: 0, formatted: true });
      this.#noteVolume(volumeId, volume);
    }
    if (volume.medium?.mediaGeneration !== mediaGeneration) {
      const detail = `Volume ${volumeId} has no medium ${mediaGeneration} here.`;
      return { ok: false, problem: problem('volume-not-found', detail) };
    }
    const refusal = this.#linkRefusal(attachmentId, paths);
    if (refusal !== null) return { ok: false, problem: refusal };
    this.#setExport(attachmentId, { volumeId, generation, paths });
    return done;
  }

  unexport(request: UnexportRequest): EffectResult<null> {
    const refusal = this.#admit(request.volumeId, request.generation);
    if ('code' in refusal) return { ok: false, problem: refusal };
    this.#setExport(request.attachmentId, null);
    return done;
  }

  media(backend: string): MediumFound[] {
    const found: MediumFound[] = [];
    for (const [volumeId, { medium }] of this.#volumes) {
      if (medium === null) continue;
      const { mediaGeneration, sizeBytes } = medium;
      found.push({ backend, volumeId, mediaGeneration, sizeBytes, allocatedBytes: 0 });
    }
    return found;
  }

  exports(): ExportFound[] {
    const found: ExportFound[] = [];
    for (const [attachmentId, { volumeId, generation, paths }] of this.#exports) {
      for (const path of paths) found.push({ volumeId, attachmentId, generation, path });
    }
    return found;
  }

  /** From now on every change is a record for `takeChanged`; what the log applies is known already. */
  beginRecording(): void {
    this.#isReplaying = false;
    this.#changed = [];
  }

  takeChanged(): readonly SimulatedRecord[] {
    const changed = this.#changed ?? [];
    if (changed.length > 0) this.#changed = [];
    return changed;
  }

  get size(): number {
    return this.#volumes.size + this.#exports.size;
  }

  parse(value: unknown): SimulatedRecord | null {
    if (!Array.isArray(value)) return null;
    const [kind, id] = value as [unknown, unknown];
    if ((kind !== 'volume' && kind !== 'export') || typeof id !== 'string') return null;
    return value as [...SimulatedRecord];
  }

  apply(record: SimulatedRecord): void {
    if (!this.#isReplaying) return;
    if (record[0] === 'export') this.#setExport(record[1], record[2]);
    else this.#applyVolume(record[1], record[2], record[3]);
  }

  *snapshot(): Iterable<SimulatedRecord> {
    for (const [id, { highest, medium }] of this.#volumes) yield ['volume', id, highest, medium];
    for (const [id, state] of this.#exports) yield ['export', id, state];
  }

  #applyVolume(volumeId: string, highest: number | null, medium: SimulatedMedium | null): void {
    const volume = this.#volumes.get(volumeId) ?? { highest: 0, medium: null, exports: 0 };
    this.#setMedium(volume, medium);
    if (highest === null) this.#volumes.delete(volumeId);
    else this.#volumes.set(volumeId, volume);
    volume.highest = highest ?? 0;
  }

  /** The volume, its generation raised; or why the effect must not happen. */
  #admit(volumeId: string, generation: number): SimulatedVolume | Problem {
    const known = this.#volumes.get(volumeId);
    if (known !== undefined && generation < known.highest) {
      const detail = `Volume ${volumeId} is at generation ${known.highest}; ${generation} comes too late.`;
      return problem('stale-generation', detail);
    }
    const volume = known ?? { highest: generation, medium: null, exports: 0 };
    if (known === undefined || generation !== known.highest) {
      volume.highest = generation;
      this.#noteVolume(volumeId, volume);
    }
    this.#touch(volumeId, volume);
    this.#forgetUnused();
    return volume;
  }

  #makeMedium(
    volume: SimulatedVolume,
    request: Pick<WipeRequest, 'volumeId' | 'newMediaGeneration' | 'sizeBytes' | 'filesystem'>,
  ): Problem | null {
    const { volumeId, newMediaGeneration, sizeBytes, filesystem } = request;
    if (volume.medium?.mediaGeneration === newMediaGeneration) {
      if (volume.medium.sizeBytes === sizeBytes) return null;
      const there = exactly(volume.medium.sizeBytes);
      return problem('identity-mismatch', `Volume ${volumeId} has ${there}, not ${exactly(sizeBytes)}.`);
    }
    const neededBytes = sizeBytes - (volume.medium?.sizeBytes ?? 0);
    if (neededBytes > this.availableBytes) {
      const [needed, available] = [formatByteCount(neededBytes), formatByteCount(this.availableBytes)];
      return problem('out-of-space', `${needed} are needed, ${available} are free.`);
    }
    const formatted = filesystem !== null && this.#options.formats;
    this.#setMedium(volume, { mediaGeneration: newMediaGeneration, sizeBytes, formatted });
    return null;
  }

  #setMedium(volume: SimulatedVolume, medium: SimulatedMedium | null): void {
    this.#usedBytes += (medium?.sizeBytes ?? 0) - (volume.medium?.sizeBytes ?? 0);
    volume.medium = medium;
  }

  #linkRefusal(attachmentId: string, paths: readonly Path[]): Problem | null {
    for (const path of paths) {
      const holder = this.#ownerByLink.get(linkName(path)) ?? attachmentId;
      if (holder === attachmentId) continue;
      return problem('resource-in-use', `${linkName(path)} belongs to attachment ${holder}.`, { related: { holder } });
    }
    return null;
  }

  #setExport(attachmentId: string, next: SimulatedExport | null): void {
    const before = this.#exports.get(attachmentId);
    if (before !== undefined) {
      for (const path of before.paths) this.#ownerByLink.delete(linkName(path));
      this.#countExport(before.volumeId, -1);
      this.#exports.delete(attachmentId);
    }
    if (next !== null) {
      for (const path of next.paths) this.#ownerByLink.set(linkName(path), attachmentId);
      this.#countExport(next.volumeId, 1);
      this.#exports.set(attachmentId, next);
    }
    if (before !== undefined || next !== null) this.#changed?.push(['export', attachmentId, next]);
  }

  #countExport(volumeId: string, by: number): void {
    const volume = this.#volumes.get(volumeId);
    if (volume !== undefined) volume.exports += by;
  }

  #noteVolume(volumeId: string, volume: SimulatedVolume): void {
    this.#changed?.push(['volume', volumeId, volume.highest, volume.medium]);
  }

  #touch(volumeId: string, volume: SimulatedVolume): void {
    this.#volumes.delete(volumeId);
    this.#volumes.set(volumeId, volume);
  }

  /** A few at a time, longest unused first, whenever that many more have come. */
  #forgetUnused(): void {
    if (this.#volumes.size < this.#forgetAt) return;
    let looks = 2 * forgetAtOnce;
    for (const [volumeId, volume] of this.#volumes) {
      if (looks === 0) break;
      looks -= 1;
      if (this.#isForgettable(volume)) this.#forget(volumeId, volume);
      else this.#touch(volumeId, volume);
    }
    this.#forgetAt = Math.max(this.#options.volumesHeld, this.#volumes.size) + forgetAtOnce;
  }

  /** What is exported stays: there are as many as attachments. Bytes stay, unless they are only assumed. */
  #isForgettable(volume: SimulatedVolume): boolean {
    return volume.exports === 0 && (volume.medium === null || this.#options.assumeExisting);
  }

  #forget(volumeId: string, volume: SimulatedVolume): void {
    this.#setMedium(volume, null);
    this.#volumes.delete(volumeId);
    this.#changed?.push(['volume', volumeId, null, null]);
  }
}

const forgetAtOnce = 1_000;

function linkName({ targetWwpn, initiatorWwpn, lun }: Path): string {
  return `${targetWwpn}/${initiatorWwpn}/${lun}`;
}
