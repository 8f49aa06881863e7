/**
 * Which media the volumes directory holds, in memory, so that no action has to read the whole directory.
 *
 * Built from the directory at open and kept by the one process that may change it (the lock of the data directory).
 * Temporary files that a crash left are remembered here until their volume's next action removes them.
 */
import { type MediumName, parseMediumFileName, parseTemporaryFileName } from './medium-name.ts';

export class MediaIndex {
  readonly #generations = new Map<string, readonly number[]>();
  readonly #leftovers = new Map<string, readonly MediumName[]>();

  static of(fileNames: Iterable<string>): MediaIndex {
    const index = new MediaIndex();
    for (const fileName of fileNames) index.#addFile(fileName);
    return index;
  }

  has({ volumeId, mediaGeneration }: MediumName): boolean {
    return this.#generations.get(volumeId)?.includes(mediaGeneration) ?? false;
  }

  mediaOf(volumeId: string): MediumName[] {
    return (this.#generations.get(volumeId) ?? []).map((mediaGeneration) => ({ volumeId, mediaGeneration }));
  }

  add(medium: MediumName): void {
    if (this.has(medium)) return;
    const others = this.#generations.get(medium.volumeId) ?? [];
    this.#generations.set(medium.volumeId, [...others, medium.mediaGeneration]);
  }

  remove({ volumeId, mediaGeneration }: MediumName): void {
    const rest = (this.#generations.get(volumeId) ?? []).filter((generation) => generation !== mediaGeneration);
    if (rest.length === 0) this.#generations.delete(volumeId);
    else this.#generations.set(volumeId, rest);
  }

  leftoversOf(volumeId: string): readonly MediumName[] {
    return this.#leftovers.get(volumeId) ?? [];
  }

  volumesWithLeftovers(): string[] {
    return [...this.#leftovers.keys()];
  }

  addLeftover(medium: MediumName): void {
    this.#leftovers.set(medium.volumeId, [...this.leftoversOf(medium.volumeId), medium]);
  }

  clearLeftovers(volumeId: string): void {
    this.#leftovers.delete(volumeId);
  }

  #addFile(fileName: string): void {
    const medium = parseMediumFileName(fileName);
    const leftover = parseTemporaryFileName(fileName);
    if (medium !== null) this.add(medium);
    if (leftover !== null) this.addLeftover(leftover);
  }
}
