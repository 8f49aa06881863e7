/**
 * The highest integer seen for each key, durably: what refuses effects and mounts that come too late.
 *
 * `get` answers only what is durable. Relies on `RecordLog` (one durable write for all concurrent calls) and on one process
 * per file. If a raise were answered before it is durable, a crash would let an older effect in.
 */
import { assert } from '../domain/errors.ts';
import { RecordLog, type RecordState } from './record-log.ts';

export interface HighWaterEntry {
  readonly key: string;
  readonly value: number;
}

export class HighWaterLog {
  readonly #marks: Marks;
  readonly #log: RecordLog<MarkRecord>;

  private constructor(marks: Marks, log: RecordLog<MarkRecord>) {
    this.#marks = marks;
    this.#log = log;
  }

  /** The directory must exist. `data-damaged` when the file is damaged other than by a torn last append. */
  static async open(path: string): Promise<HighWaterLog> {
    const marks = new Marks();
    return new HighWaterLog(marks, await RecordLog.open(path, marks));
  }

  get size(): number {
    return this.#marks.size;
  }

  get(key: string): number | undefined {
    return this.#marks.get(key);
  }

  /** Keys in the order in which they were first seen. */
  keys(): Iterable<string> {
    return this.#marks.keys();
  }

  /** Resolves once every entry is durable. Entries that are not higher than what is known change nothing. */
  async raise(entries: readonly HighWaterEntry[]): Promise<void> {
    const records: MarkRecord[] = [];
    for (const { key, value } of entries) {
      assert(Number.isSafeInteger(value), 'high-water-integer');
      if (value > (this.#marks.get(key) ?? Number.NEGATIVE_INFINITY)) records.push([key, value]);
    }
    await this.#log.append(records);
  }

  /** Drops the keys: the next value of each, however low, is a first one. */
  async forget(keys: Iterable<string>): Promise<void> {
    const records: MarkRecord[] = [];
    for (const key of keys) records.push([key, null]);
    await this.#log.append(records);
  }

  async close(): Promise<void> {
    await this.#log.close();
  }
}

/** Null forgets the key. */
type MarkRecord = readonly [key: string, value: number | null];

class Marks implements RecordState<MarkRecord> {
  readonly #values = new Map<string, number>();

  get size(): number {
    return this.#values.size;
  }

  get(key: string): number | undefined {
    return this.#values.get(key);
  }

  keys(): Iterable<string> {
    return this.#values.keys();
  }

  parse(value: unknown): MarkRecord | null {
    if (!Array.isArray(value) || value.length !== 2) return null;
    const [key, mark] = value as [unknown, unknown];
    if (typeof key !== 'string' || (mark !== null && !Number.isSafeInteger(mark))) return null;
    return [key, mark as number | null];
  }

  apply([key, value]: MarkRecord): void {
    if (value === null) this.#values.delete(key);
    else if (value > (this.#values.get(key) ?? Number.NEGATIVE_INFINITY)) this.#values.set(key, value);
  }

  *snapshot(): Iterable<MarkRecord> {
    for (const entry of this.#values) yield entry;
  }
}
