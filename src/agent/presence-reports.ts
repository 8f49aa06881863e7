/**
 * The word that a device is there, told beside what follows: the claim keeps the volume for this host already, and
 * whoever waits for a mount need not wait for it to be told. What is told of the same attachment next comes after it.
 */
export class PresenceReports {
  readonly #underWay = new Map<string, Promise<void>>();

  /**
   * Once the caller has gone on: in this process the controller's work would come before its answer. While the same is
   * being told already, there is nothing more to tell.
   */
  begin(attachmentId: string, send: () => Promise<unknown>): void {
    if (this.#underWay.has(attachmentId)) return;
    const told = nextTurn()
      .then(send)
      .then(() => undefined)
      .finally(() => this.#underWay.delete(attachmentId));
    this.#underWay.set(attachmentId, told);
    // Whoever has to know asks for it.
    told.catch(() => undefined);
  }

  /** Resolves when nothing is being told of it; rejects as the report that is under way does. */
  async told(attachmentId: string): Promise<void> {
    await this.#underWay.get(attachmentId);
  }

  /** Resolves when all that are under way have ended, however. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#underWay.values());
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
