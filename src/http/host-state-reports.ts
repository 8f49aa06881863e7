/**
 * Reports of many hosts and devices as few commits: those that arrive while one is being written go into the next.
 *
 * A report is answered only when its own commit is done.
 */
import { limits } from '../config/limits.ts';
import type { Attachment } from '../domain/attachment.ts';
import { assert, Failure } from '../domain/errors.ts';
import type { HostStateReport, Store } from '../store/store.ts';

interface Waiting {
  readonly report: HostStateReport;
  readonly resolve: (attachment: Attachment) => void;
  readonly reject: (error: unknown) => void;
}

export class HostStateReports {
  readonly #store: () => Pick<Store, 'hostStateReport'>;
  readonly #onGone: () => void;
  #waiting: Waiting[] = [];
  #writing = false;

  /** `onGone`: a device is gone, which a detach waits for. */
  constructor(store: () => Pick<Store, 'hostStateReport'>, onGone: () => void) {
    this.#store = store;
    this.#onGone = onGone;
  }

  report(report: HostStateReport): Promise<Attachment> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ report, resolve, reject });
      if (!this.#writing) void this.#write();
    });
  }

  async #write(): Promise<void> {
    this.#writing = true;
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0, limits.hostStatesPerCommit);
      await this.#commit(group).catch((error: unknown) => {
        for (const one of group) one.reject(error);
      });
    }
    this.#writing = false;
  }

  async #commit(group: readonly Waiting[]): Promise<void> {
    const answers = await this.#store().hostStateReport(group.map((one) => one.report));
    assert(answers.length === group.length, 'http-host-state-answers');
    if (group.some(({ report }) => report.side === 'gone')) this.#onGone();
    for (const [index, answer] of answers.entries()) {
      if (answer.ok) group[index]?.resolve(answer.attachment);
      else group[index]?.reject(Failure.from(answer.problem));
    }
  }
}
