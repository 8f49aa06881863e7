/**
 * The host remembers the highest epoch of every volume that it has served. A volume that the followed store does not have
 * any more, and of which nothing is here, is never served again: ids are not given twice, and its media went before its row.
 * Such epochs are forgotten once there are many, a bounded number looked at in each run.
 */
import { limits } from '../config/limits.ts';
import type { AgentContext } from './context.ts';

export class ForgottenEpochs {
  readonly #context: AgentContext;
  /** How many of those that are known longest were looked at, and stay. */
  #passed = 0;

  constructor(context: AgentContext) {
    this.#context = context;
  }

  /**
   * `isHere`: whether a device, a mount, a record or an attachment of the volume is. That the store is the one that this host
   * follows, and is not behind, was found just before.
   */
  async run(isHere: (volumeId: string) => boolean): Promise<void> {
    const { host, limits: own } = this.#context;
    const served = [...host.servedVolumes()];
    if (served.length <= own.epochs) return;
    if (this.#passed >= served.length) this.#passed = 0;
    const looked = served.slice(this.#passed, this.#passed + limits.agentEpochsLooked);
    const gone: string[] = [];
    for (const volumeId of looked) {
      if (!isHere(volumeId) && (await this.#isGone(volumeId))) gone.push(volumeId);
    }
    this.#passed += looked.length - gone.length;
    if (gone.length > 0) await host.forgetEpochs(gone);
  }

  async #isGone(volumeId: string): Promise<boolean> {
    return (await this.#context.link.call((controller) => controller.volumeGet(volumeId))) === null;
  }
}
