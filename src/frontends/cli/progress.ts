/** A progress bar on a terminal; nothing where there is none. */
import { SingleBar } from 'cli-progress';
import type { ProgressBar } from './world.ts';

export class Progress implements ProgressBar {
  readonly #bar: SingleBar;

  constructor(label: string, total: number, stream: NodeJS.WritableStream) {
    const format = `${label} [{bar}] {value}/{total}`;
    this.#bar = new SingleBar({ format, stream, hideCursor: true, barsize: 30, clearOnComplete: true });
    this.#bar.start(total, 0);
  }

  update(done: number): void {
    this.#bar.update(done);
  }

  stop(): void {
    this.#bar.stop();
  }
}
