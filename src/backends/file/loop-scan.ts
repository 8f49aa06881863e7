/**
 * Whether a loop device still has a medium as its backing file, deleted or not: then a hidden mount may hold the old
 * owner's filesystem, and bytes punched away would come back from its cache.
 *
 * One scan serves all that ask meanwhile.
 */
import { Failure } from '../../domain/errors.ts';
import { GroupCommit } from '../../system/group-commit.ts';
import { type MediumName, mediumFileName } from './medium-name.ts';

export class LoopScan {
  readonly #scans: GroupCommit<null>;
  #bound: readonly MediumName[] = [];

  constructor(listBound: () => Promise<readonly MediumName[]>) {
    this.#scans = new GroupCommit(async () => {
      this.#bound = await listBound();
    });
  }

  /** `device-busy` when a scan that began after this call finds a medium of the volume other than `kept`. */
  async refuseBusy(volumeId: string, kept: number | null): Promise<void> {
    await this.#scans.add([null]);
    const busy = this.#bound.find((each) => each.volumeId === volumeId && each.mediaGeneration !== kept);
    if (busy === undefined) return;
    throw new Failure('device-busy', `A loop device still has ${mediumFileName(busy)} as its backing file.`);
  }
}
